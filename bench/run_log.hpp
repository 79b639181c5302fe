#pragma once
#include <chrono>
#include <cstddef>
#include <memory>
#include <string>
#include <vector>

#include "bench/records.hpp"
#include "engine/device/device.hpp"

namespace m40llm::bench {

/// The records of one run, or nothing where --json was not given: the header at once, the end at finish(). To
/// be made only when there is something to do.
class RunLog {
 public:
  /// Opens the file. `device` is null for programs that need none, and must outlive the log.
  RunLog(const std::string& json, const std::vector<std::string>& command, const Device* device);
  /// Of this run, whether it is written or not.
  const Json& header() const { return header_; }
  /// Adds "device_kind" behind the kind.
  void append(Json record);
  void sync();
  /// Writes the end record, says on stderr where the records are, and returns `exit_code`, or kInterrupted
  /// after Ctrl-C. `against`: what --against gave.
  int finish(std::size_t passed, std::size_t failed, std::size_t skipped, const std::string& skipped_why,
             int exit_code, const Json& against = nullptr);

 private:
  std::unique_ptr<RecordWriter> writer_;
  const Device* device_;
  Json header_;
  std::chrono::steady_clock::time_point start_ = std::chrono::steady_clock::now();
};

}  // namespace m40llm::bench
