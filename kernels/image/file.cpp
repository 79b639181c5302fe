#include "kernels/image/file.hpp"

#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <fstream>
#include <iterator>
#include <stdexcept>

namespace m40llm::image {

std::optional<std::string> read_file(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  if (!file || std::filesystem::is_directory(path)) return std::nullopt;
  return std::string(std::istreambuf_iterator<char>(file), {});
}

void write_if_changed(const std::filesystem::path& path, std::string_view bytes) {
  if (read_file(path) == bytes) return;
  std::filesystem::path part = path;
  part += ".part" + std::to_string(getpid());
  std::ofstream file(part, std::ios::binary);
  file << bytes;
  file.close();
  std::error_code failure;
  if (file) std::filesystem::rename(part, path, failure);
  if (!file || failure) {
    std::error_code ignored;
    std::filesystem::remove(part, ignored);
    throw std::runtime_error("cannot write " + path.string() + ": " +
                             (failure ? failure.message() : std::strerror(errno)));
  }
}

}  // namespace m40llm::image
