#pragma once
#include <cstddef>
#include <filesystem>
#include <fstream>
#include <span>

namespace m40llm::bench {

/// The logits of each step as a .npy file (version 1.0 of numpy's format): float32, C order, shape (n_steps,
/// n_vocab); numpy.load() reads it. The file is there whole or not at all: rows go to a file beside it that
/// takes its name with finish(), and is removed without it.
class LogitsFile {
 public:
  /// Throws Error if `path` is something but a regular file, or nothing can be written beside it.
  LogitsFile(const std::filesystem::path& path, std::size_t n_vocab);
  LogitsFile(const LogitsFile&) = delete;
  LogitsFile& operator=(const LogitsFile&) = delete;
  ~LogitsFile();

  /// Adds a step's row (n_vocab). Throws Error naming the file.
  void append(std::span<const float> logits);
  /// Puts the file in its place, over an older one. Throws Error naming the file.
  void finish();

  const std::filesystem::path& path() const { return path_; }
  std::size_t n_steps() const { return n_steps_; }

 private:
  void write_header();
  void check(const char* what) const;

  std::filesystem::path path_;     // links followed
  std::filesystem::path partial_;  // beside it
  std::ofstream file_;
  std::size_t n_vocab_;
  std::size_t n_steps_ = 0;
  bool finished_ = false;
};

}  // namespace m40llm::bench
