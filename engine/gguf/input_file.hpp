#pragma once
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <utility>

namespace m40llm::gguf {

/// A regular file that is read by position. It is not mapped: of a file that is shortened or fails while it is
/// mapped the system tells by a signal, of one that is read by an error. Safe to read from several threads.
class InputFile {
 public:
  /// Throws Error naming the file if it is not there, cannot be read, is empty or no regular file (a folder, a
  /// pipe, a device). Never waits for a writer.
  explicit InputFile(std::filesystem::path path);

  [[nodiscard]] const std::filesystem::path& path() const { return path_; }
  /// In bytes, when it was opened.
  [[nodiscard]] std::uint64_t size() const { return size_; }

  /// Fills `to` with the bytes from `offset` on. Throws Error naming the file and the byte if it does not have
  /// them (any more), or if reading fails.
  void read(std::uint64_t offset, std::span<std::byte> to) const;
  /// XXH3 (64 bits) of the whole file, which it reads.
  [[nodiscard]] std::uint64_t hash() const;

  /// Throws Error of the file's name and `what`.
  [[noreturn]] void fail(const std::string& what) const;

 private:
  class Descriptor {
   public:
    explicit Descriptor(int fd) : fd_(fd) {}
    Descriptor(Descriptor&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
    Descriptor& operator=(Descriptor&& other) noexcept {
      std::swap(fd_, other.fd_);
      return *this;
    }
    ~Descriptor();
    [[nodiscard]] int get() const { return fd_; }

   private:
    int fd_;
  };

  std::filesystem::path path_;
  Descriptor file_;
  std::uint64_t size_ = 0;
};

}  // namespace m40llm::gguf
