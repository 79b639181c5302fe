#pragma once
#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <regex>
#include <string>
#include <vector>

#include <CLI/CLI.hpp>

#include "bench/provenance.hpp"
#include "bench/records.hpp"
#include "engine/device/open.hpp"

/// What the command lines of all binaries have in common: flags, exit codes, Ctrl-C, and the record of the
/// run. What was asked for (a table, text, a list, JSON) goes to stdout and nothing else does: the device,
/// where the records are, notes and errors go to stderr.
namespace m40llm::bench {

struct CommonOptions {
  DeviceOptions device;
  std::string json;  ///< file to append records to; empty: none
};

/// --device, --image, --require-sm52, --seed, --order, --workers.
void add_device_flags(CLI::App& app, DeviceOptions& options);
/// --json.
void add_json_flag(CLI::App& app, std::string& json);

/// Reads the command line into what the app's flags are bound to. An exit code when there is nothing more to
/// do (--help was printed); throws UsageError on anything the app does not know.
std::optional<int> parse(CLI::App& app, const std::vector<std::string>& command);

/// The POSIX extended regular expression given to `flag`; throws UsageError naming both if it is none.
std::regex to_regex(const std::string& text, const std::string& flag);

/// A program's main: runs `body` with the command line and returns its exit code. An exception becomes a line
/// "<program>: error: ..." on stderr and exit code 1, a UsageError exit code 2. So does output that could not
/// be written. Descriptors 0 to 2 are open from here on, so that no file of the program's own becomes its
/// stdout.
int run_program(const char* program, int argc, char** argv,
                const std::function<int(const std::vector<std::string>& command)>& body);

/// True after Ctrl-C, SIGTERM, or SIGHUP (unless nohup had it ignored): finish the case at hand, write the
/// end record, return kInterrupted. A second Ctrl-C, if not within 0.3 s, ends the program at once; the records
/// written so far are whole.
bool interrupted();
inline constexpr int kInterrupted = 130;

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
