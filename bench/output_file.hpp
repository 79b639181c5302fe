#pragma once
#include <sys/stat.h>

#include <filesystem>
#include <string>
#include <string_view>

#include "bench/descriptor.hpp"

namespace m40llm::bench {

/// True if `file` is what this process's stdout or stderr writes to, or a terminal.
bool is_console(int file, const struct stat& status);

/// A file that a program makes at its end, whole or not at all: one that was there before stays as it was
/// until then. A device or a pipe is written to as it is.
class OutputFile {
 public:
  /// Opens nothing that is a file, but throws Error beginning with `flag`, before any work is done, where it
  /// is plain that it cannot be written: a folder, no permission, this program's own stdout or stderr.
  OutputFile(std::string flag, const std::filesystem::path& path);
  /// Throws Error naming the flag, the file and the system's error.
  void write(std::string_view text) const;

 private:
  [[noreturn]] void refuse(const std::string& why) const;
  void write_all(int file, std::string_view text) const;

  std::string flag_;
  std::filesystem::path path_;
  Descriptor special_;  ///< a device or a pipe
};

}  // namespace m40llm::bench
