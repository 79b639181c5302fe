#pragma once
#include <functional>
#include <string>
#include <vector>

#include "bench/command_line.hpp"
#include "engine/device/open.hpp"

/// What the command lines of all binaries have in common: flags, exit codes, Ctrl-C. What was asked for (a table, text, a list, JSON) goes to stdout and nothing else does: the device,
/// where the records are, notes and errors go to stderr.
namespace m40llm::bench {

struct CommonOptions {
  DeviceOptions device;
  std::string json;  ///< file to append records to; empty: none
};

/// --device, --image, --require-sm52, --seed, --order, --workers.
void add_device_flags(CommandLine& line, DeviceOptions& options);
/// --json.
void add_json_flag(CommandLine& line, std::string& json);

/// A program's main: runs `body` with the command line and returns its exit code. An exception becomes a line
/// "<program>: error: ..." on stderr and exit code 1, a UsageError exit code 2. So does output that could not
/// be written. Descriptors 0 to 2 are open from here on, so that no file of the program's own becomes its
/// stdout.
int run_program(const char* program, int argc, char** argv,
                const std::function<int(const std::vector<std::string>& command)>& body);

/// All that was written to stdout so far has gone where it leads.
bool stdout_is_whole();

/// True after Ctrl-C, SIGTERM, or SIGHUP (unless nohup had it ignored): finish the case at hand, write the
/// end record, return kInterrupted. A second Ctrl-C, if not within 0.3 s, ends the program at once; the records
/// written so far are whole.
bool interrupted();
inline constexpr int kInterrupted = 130;

}  // namespace m40llm::bench
