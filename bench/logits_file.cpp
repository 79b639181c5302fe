#include "bench/logits_file.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <bit>
#include <cerrno>
#include <string>
#include <system_error>

#include "bench/descriptor.hpp"
#include "bench/output_file.hpp"
#include "engine/error.hpp"

namespace m40llm::bench {
namespace {

constexpr std::size_t kHeaderBytes = 128;  // a multiple of 64, as the format asks, with room for any shape

/// Where a link leads, there or not yet.
std::filesystem::path target_of(std::filesystem::path path) {
  constexpr int kMostLinks = 40;  // as the system
  std::error_code error;
  for (int i = 0; i < kMostLinks && std::filesystem::is_symlink(path, error); ++i)
    path = path.parent_path() / std::filesystem::read_symlink(path, error);
  return path;
}

}  // namespace

LogitsFile::LogitsFile(const std::filesystem::path& path, std::size_t n_vocab)
    : path_(target_of(path)), partial_(path_), n_vocab_(n_vocab) {
  static_assert(std::endian::native == std::endian::little && sizeof(float) == 4);
  partial_ += ".partial." + std::to_string(::getpid());
  struct stat status {};
  const bool exists =
      ::stat(path.c_str(), &status) == 0;  // not path_: links of /proc lead to what has no name
  if (!exists && errno != ENOENT)
    throw Error("--logits '" + path.string() + "' could not be opened for writing: " + system_message(errno));
  const auto refuse = [&](const std::string& what) {
    throw Error("--logits '" + path.string() + "' is " + what + "; the name of a file to write is expected");
  };
  if (exists && S_ISDIR(status.st_mode)) refuse("a folder");
  if (exists && !S_ISREG(status.st_mode)) refuse("no regular file");
  if (const Descriptor old(exists ? ::open(path_.c_str(), O_RDONLY | O_CLOEXEC) : -1);
      exists && is_console(old.get(), status))
    refuse("where this program's own output goes");
  errno = 0;
  file_.open(partial_, std::ios::binary | std::ios::trunc);
  check("opened for writing");
  if (exists && ::chmod(partial_.c_str(), status.st_mode & 0777) != 0)  // who may read it stays so
    throw Error("--logits '" + path.string() + "' could not be opened for writing: " + system_message(errno));
  write_header();
}

LogitsFile::~LogitsFile() {
  if (finished_) return;
  file_.close();
  std::error_code ignored;
  std::filesystem::remove(partial_, ignored);
}

void LogitsFile::append(std::span<const float> logits) {
  errno = 0;
  file_.write(reinterpret_cast<const char*>(logits.data()),
              static_cast<std::streamsize>(logits.size_bytes()));
  check("written whole");
  ++n_steps_;
}

void LogitsFile::finish() {
  errno = 0;
  file_.seekp(0);
  write_header();
  file_.close();
  check("written whole");
  std::error_code error;
  std::filesystem::rename(partial_, path_, error);
  if (error) throw Error("--logits '" + path_.string() + "' cannot be put in its place: " + error.message());
  finished_ = true;
}

void LogitsFile::write_header() {
  std::string header("\x93NUMPY\x01\x00", 8);
  const std::size_t length = kHeaderBytes - 10;
  header += static_cast<char>(length);  // 16 bits, little-endian
  header += '\0';
  header += "{'descr': '<f4', 'fortran_order': False, 'shape': (" + std::to_string(n_steps_) + ", " +
            std::to_string(n_vocab_) + "), }";
  header.resize(kHeaderBytes - 1, ' ');
  header += '\n';
  file_.write(header.data(), static_cast<std::streamsize>(header.size()));
  check("written whole");
}

void LogitsFile::check(const char* what) const {
  if (file_) return;
  throw Error("--logits '" + path_.string() + "' could not be " + what +
              (errno != 0 ? ": " + system_message(errno) : ""));
}

}  // namespace m40llm::bench
