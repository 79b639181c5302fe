#pragma once
#include <unistd.h>

#include <cstring>
#include <string>
#include <utility>

/// The system's calls on files: what an errno says, and a descriptor that closes itself.
namespace m40llm::bench {

/// "No space left on device (ENOSPC)".
inline std::string system_message(int code) {
  const char* const name = strerrorname_np(code);
  return std::string(std::strerror(code)) + " (" + (name != nullptr ? name : std::to_string(code)) + ")";
}

class Descriptor {
 public:
  explicit Descriptor(int file = -1) : file_(file) {}
  Descriptor(Descriptor&& other) noexcept : file_(std::exchange(other.file_, -1)) {}
  Descriptor& operator=(Descriptor&& other) noexcept {
    std::swap(file_, other.file_);
    return *this;
  }
  ~Descriptor() {
    if (file_ >= 0) ::close(file_);
  }
  /// Negative where the opening failed.
  int get() const { return file_; }

 private:
  int file_;
};

}  // namespace m40llm::bench
