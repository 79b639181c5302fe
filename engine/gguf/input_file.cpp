#include "engine/gguf/input_file.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <memory>
#include <system_error>
#include <vector>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "engine/error.hpp"
#include "engine/printable.hpp"

namespace m40llm::gguf {
namespace {

constexpr std::size_t kHashedAtOnce = 4u << 20;

std::string reason() { return std::generic_category().message(errno); }

}  // namespace

InputFile::Descriptor::~Descriptor() {
  if (fd_ >= 0) ::close(fd_);
}

// O_NONBLOCK: opening a pipe must not wait for a writer; it is refused below.
InputFile::InputFile(std::filesystem::path path)
    : path_(std::move(path)), file_(::open(path_.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY)) {
  if (file_.get() < 0) fail("cannot be opened: " + reason() + " (expected a GGUF file)");
  struct stat info {};
  if (::fstat(file_.get(), &info) != 0) fail("cannot be examined: " + reason());
  if (S_ISDIR(info.st_mode)) fail("is a directory (expected a GGUF file)");
  if (!S_ISREG(info.st_mode)) fail("is not a regular file (expected a GGUF file)");
  if (info.st_size == 0) fail("is empty (expected a GGUF file)");
  size_ = static_cast<std::uint64_t>(info.st_size);
}

void InputFile::read(std::uint64_t offset, std::span<std::byte> to) const {
  while (!to.empty()) {
    const ssize_t n = ::pread(file_.get(), to.data(), to.size(), static_cast<off_t>(offset));
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) fail("cannot be read at byte " + std::to_string(offset) + ": " + reason());
    if (n == 0) {
      fail("ends at byte " + std::to_string(offset) + ", where it had " + std::to_string(size_) +
           " bytes when it was opened (expected a file that nobody shortens while it is read)");
    }
    offset += static_cast<std::uint64_t>(n);
    to = to.subspan(static_cast<std::size_t>(n));
  }
}

std::uint64_t InputFile::hash() const {
  const std::unique_ptr<XXH3_state_t, XXH_errorcode (*)(XXH3_state_t*)> state(XXH3_createState(),
                                                                              XXH3_freeState);
  if (!state) throw std::bad_alloc();
  XXH3_64bits_reset(state.get());
  std::vector<std::byte> part(static_cast<std::size_t>(std::min<std::uint64_t>(size_, kHashedAtOnce)));
  for (std::uint64_t done = 0; done < size_; done += part.size()) {
    part.resize(static_cast<std::size_t>(std::min<std::uint64_t>(size_ - done, part.size())));
    read(done, part);
    XXH3_64bits_update(state.get(), part.data(), part.size());
  }
  return XXH3_64bits_digest(state.get());
}

void InputFile::fail(const std::string& what) const { throw Error(printable(path_.string()) + ": " + what); }

}  // namespace m40llm::gguf
