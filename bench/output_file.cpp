#include "bench/output_file.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <system_error>

#include "engine/error.hpp"

namespace m40llm::bench {

bool is_console(int file, const struct stat& status) {
  if (::isatty(file) != 0) return true;
  if (S_ISCHR(status.st_mode)) return false;  // /dev/null takes all
  for (const int other : {STDOUT_FILENO, STDERR_FILENO}) {
    struct stat console {};
    if (::fstat(other, &console) == 0 && console.st_dev == status.st_dev && console.st_ino == status.st_ino)
      return true;
  }
  return false;
}

OutputFile::OutputFile(std::string flag, const std::filesystem::path& path)
    : flag_(std::move(flag)), path_(path) {
  struct stat status {};
  const bool exists = ::stat(path.c_str(), &status) == 0;
  if (!exists && errno != ENOENT) refuse(system_message(errno));
  if (exists && S_ISDIR(status.st_mode)) refuse("it is a folder");
  if (exists && !S_ISREG(status.st_mode)) {
    // Without O_NONBLOCK, opening a pipe waits for its reader.
    special_ = Descriptor(::open(path.c_str(), O_WRONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK));
    if (special_.get() < 0) refuse(system_message(errno));
    ::fcntl(special_.get(), F_SETFL, 0);
    if (S_ISBLK(status.st_mode)) refuse("it is a block device");
  }
  const Descriptor readable(exists && special_.get() < 0 ? ::open(path.c_str(), O_RDONLY | O_CLOEXEC) : -1);
  if (exists && is_console(special_.get() < 0 ? readable.get() : special_.get(), status))
    refuse("this program's own output goes there; expected another file");
  if (special_.get() >= 0) return;
  std::error_code error;
  if (exists)
    path_ = std::filesystem::canonical(path, error);  // what a link leads to is replaced, not the link
  if (error) refuse(system_message(error.value()));
  const std::filesystem::path folder = path_.has_parent_path() ? path_.parent_path() : ".";
  if (::faccessat(AT_FDCWD, folder.c_str(), W_OK | X_OK, AT_EACCESS) != 0)
    refuse("its folder: " + system_message(errno));
}

void OutputFile::refuse(const std::string& why) const {
  throw Error(flag_ + " '" + path_.string() + "' cannot be written: " + why);
}

void OutputFile::write_all(int file, std::string_view text) const {
  while (!text.empty()) {
    const ssize_t n = ::write(file, text.data(), text.size());
    if (n < 0 && errno != EINTR) refuse(system_message(errno));
    text.remove_prefix(static_cast<std::size_t>(n < 0 ? 0 : n));
  }
}

void OutputFile::write(std::string_view text) const {
  if (special_.get() >= 0) return write_all(special_.get(), text);
  const std::string partial = path_.string() + ".partial-" + std::to_string(::getpid());
  const Descriptor file(::open(partial.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644));
  if (file.get() < 0) refuse(system_message(errno));
  try {
    struct stat before {};
    if (::stat(path_.c_str(), &before) == 0) static_cast<void>(::fchmod(file.get(), before.st_mode & 0777));
    write_all(file.get(), text);
    if (::fsync(file.get()) != 0 || ::rename(partial.c_str(), path_.c_str()) != 0)
      refuse(system_message(errno));
  } catch (...) {
    ::unlink(partial.c_str());
    throw;
  }
}

}  // namespace m40llm::bench
