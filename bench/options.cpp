#include "bench/options.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <charconv>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <exception>
#include <iostream>
#include <new>

#include "engine/error.hpp"
#include "engine/printable.hpp"

namespace m40llm::bench {
namespace {

volatile std::sig_atomic_t stop_asked = 0;
timespec when_asked{};  // of the handler alone, which blocks all three signals

/// The second one ends the program; but what ends a group of processes, as `timeout` does, sends one stop twice
/// within moments.
void ask_to_stop(int number) {
  constexpr double kOneStop = 0.3;  // seconds
  timespec now{};
  ::clock_gettime(CLOCK_MONOTONIC, &now);
  if (stop_asked == 0) {
    when_asked = now;
    stop_asked = 1;
    return;
  }
  const double since = static_cast<double>(now.tv_sec - when_asked.tv_sec) +
                       1e-9 * static_cast<double>(now.tv_nsec - when_asked.tv_nsec);
  if (since < kOneStop) return;
  ::signal(number, SIG_DFL);
  ::raise(number);  // delivered when the handler returns
}

void watch_for_stop() {
  for (const int number : {SIGINT, SIGTERM, SIGHUP}) {
    struct sigaction action {};
    ::sigaction(number, nullptr, &action);
    if (number == SIGHUP && action.sa_handler == SIG_IGN) continue;  // as nohup wants it
    action = {};
    action.sa_handler = ask_to_stop;
    for (const int other : {SIGINT, SIGTERM, SIGHUP}) ::sigaddset(&action.sa_mask, other);
    ::sigaction(number, &action, nullptr);
  }
}

const char* program_of_terminate = nullptr;  // null before main()

[[noreturn]] void say_lack_of_memory(const char* program) {
  for (const char* part : {"\n", program, ": error: not enough memory on this machine\n"})
    static_cast<void>(::write(STDERR_FILENO, part, std::strlen(part)) == 0);
  ::_exit(1);
}

/// Where an exception can go no further (a thread of the SIMT device, a destructor), too little memory is still
/// an error and no crash. Nothing here allocates.
[[noreturn]] void end_for_lack_of_memory() {
  // There is not even room for an exception.
  if (program_of_terminate == nullptr) say_lack_of_memory(program_invocation_short_name);
  try {
    if (std::current_exception() != nullptr) std::rethrow_exception(std::current_exception());
  } catch (const std::bad_alloc&) {
    say_lack_of_memory(program_of_terminate);
  } catch (...) {
  }
  std::abort();
}

/// Static objects of libraries take memory before main(): CLI11's validators do.
[[gnu::constructor(101)]] void watch_the_start() { std::set_terminate(end_for_lack_of_memory); }

/// A program may be started with some of its standard descriptors closed. The next file opened would get that
/// number, and the console's text land in it.
void hold_standard_descriptors() {
  for (int file = STDIN_FILENO; file <= STDERR_FILENO; ++file) {
    // open() takes the lowest number that is free: this one.
    if (::fcntl(file, F_GETFD) == -1 && ::open("/dev/null", O_RDWR) != file) std::abort();
  }
}

SimtOrder to_order(const std::string& name) {
  if (name == "ascending") return SimtOrder::ascending;
  if (name == "descending") return SimtOrder::descending;
  if (name == "random") return SimtOrder::random;
  throw UsageError("--order '" + name + "' is not one of ascending, descending, random");
}

/// CLI11 itself takes nothing for 0, and -1 and numbers past the range for the largest seed.
template <class Number>
Number to_number(const std::string& flag, const std::string& text, const char* expected) {
  Number number = 0;
  const char* const end = text.data() + text.size();
  const auto [stop, failure] = std::from_chars(text.data(), end, number);
  if (failure != std::errc() || stop != end) throw UsageError(flag + " '" + text + "' is not " + expected);
  return number;
}

}  // namespace

bool stdout_is_whole() {
  std::cout.flush();
  return std::cout && std::fflush(stdout) == 0 && std::ferror(stdout) == 0;
}

void add_device_flags(CommandLine& line, DeviceOptions& options) {
  line.group("Device");
  line.text("--device", options.device, "auto (a GPU if there is one, of sm_52 first), cuda, cuda:N or simt",
            "NAME");
  line.text("--image", options.image, "the kernels to run: auto, or one arch: sm_52, compute_52, sm_90, ...",
            "ARCH");
  line.flag("--require-sm52", options.require_sm52,
            "refuse any device but a GPU of sm_52 (or M40LLM_REQUIRE_SM52=yes)");
  line.parsed(
      "--order", [&options](const std::string& name) { options.simt_order = to_order(name); },
      "SIMT device: order of lanes, warps and blocks that the program leaves open: ascending, descending, "
      "random",
      "ORDER", "ascending");
  line.parsed(
      "--seed",
      [&options](const std::string& text) {
        options.simt_seed = to_number<std::uint64_t>("--seed", text, "an integer from 0 to 2^64 - 1");
      },
      "SIMT device: seed of --order random", "N", "0");
  line.parsed(
      "--workers",
      [&options](const std::string& text) {
        options.simt_workers = to_number<unsigned>("--workers", text, "an integer (0: one a core)");
      },
      "SIMT device: worker threads; 0: one a core", "N", "0");
}

void add_json_flag(CommandLine& line, std::string& json) {
  line.file("--json", json,
            "append this run's records to FILE (JSON Lines, see results/README.md); folders that are missing "
            "are made");
}

int run_program(const char* program, int argc, char** argv,
                const std::function<int(const std::vector<std::string>& command)>& body) {
  hold_standard_descriptors();
  watch_for_stop();
  std::signal(SIGXFSZ, SIG_IGN);  // a file that may not grow is an error of write(), as a full disk is
  program_of_terminate = program;
  std::vector<std::string> command(argv, argv + argc);
  if (command.empty()) command.emplace_back(program);
  const auto fail = [program](const std::string& what, int code) {
    std::cout.flush();
    std::cerr << program << ": error: " << printable_message(what) << "\n";
    return code;
  };
  try {
    const int code = body(command);
    if (!stdout_is_whole()) {
      return fail("the output could not be written whole: is the disk full?", 1);
    }
    return code;
  } catch (const UsageError& error) {
    return fail(error.what(), 2);
  } catch (const std::bad_alloc&) {
    return fail("not enough memory on this machine", 1);
  } catch (const std::exception& error) {
    return fail(error.what(), 1);
  }
}

bool interrupted() { return stop_asked != 0; }

}  // namespace m40llm::bench
