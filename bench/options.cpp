#include "bench/options.hpp"

#include <fcntl.h>
#include <unistd.h>

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

const char* program_of_terminate = "";

/// Where an exception can go no further (a thread of the SIMT device, a destructor), too little memory is still
/// an error and no crash. Nothing here allocates.
[[noreturn]] void end_for_lack_of_memory() {
  try {
    if (std::current_exception() != nullptr) std::rethrow_exception(std::current_exception());
  } catch (const std::bad_alloc&) {
    for (const char* part : {"\n", program_of_terminate, ": error: not enough memory on this machine\n"})
      static_cast<void>(::write(STDERR_FILENO, part, std::strlen(part)) == 0);
    ::_exit(1);
  } catch (...) {
  }
  std::abort();
}

/// A program may be started with some of its standard descriptors closed. The next file opened would get that
/// number, and the console's text land in it.
void hold_standard_descriptors() {
  for (int file = STDIN_FILENO; file <= STDERR_FILENO; ++file) {
    // open() takes the lowest number that is free: this one.
    if (::fcntl(file, F_GETFD) == -1 && ::open("/dev/null", O_RDWR) != file) std::abort();
  }
}

/// What is wrong with a regular expression, in words: the library's own blame a bracket for a '*'.
std::string regex_fault(const std::string& text, const std::regex_error& error) {
  for (std::size_t i = 0; i < text.size(); ++i) {
    const bool at_begin =
        i == 0 || ((text[i - 1] == '(' || text[i - 1] == '|') && (i < 2 || text[i - 2] != '\\'));
    if (at_begin && std::string_view("*+?{").find(text[i]) != std::string_view::npos)
      return std::string("'") + text[i] + "' has nothing before it to repeat ('.*' matches anything)";
  }
  switch (error.code()) {
    case std::regex_constants::error_brack:
      return "a '[' or ']' stands alone";
    case std::regex_constants::error_paren:
      return "a '(' or ')' stands alone";
    case std::regex_constants::error_brace:
      return "a '{' or '}' stands alone";
    case std::regex_constants::error_badbrace:
      return "what stands in '{}' is no count";
    case std::regex_constants::error_range:
      return "a range in '[]' runs backwards";
    case std::regex_constants::error_escape:
      return "a backslash stands before nothing that it changes";
    case std::regex_constants::error_ctype:
      return "no class of characters has this name";
    case std::regex_constants::error_badrepeat:
      return "a repetition has nothing before it to repeat";
    default:
      return error.what();
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

/// All that was written to stdout so far has gone where it leads.
bool stdout_is_whole() {
  std::cout.flush();
  return std::cout && std::fflush(stdout) == 0 && std::ferror(stdout) == 0;
}

}  // namespace

void add_device_flags(CLI::App& app, DeviceOptions& options) {
  const char* group = "Device";
  app.add_option("--device", options.device,
                 "auto (a GPU if there is one, of sm_52 first), cuda, cuda:N or simt")
      ->type_name("NAME")
      ->capture_default_str()
      ->group(group);
  app.add_option("--image", options.image,
                 "the kernels to run: auto, or one arch: sm_52, compute_52, sm_90, ...")
      ->type_name("ARCH")
      ->capture_default_str()
      ->group(group);
  app.add_flag("--require-sm52", options.require_sm52,
               "refuse any device but a GPU of sm_52 (or M40LLM_REQUIRE_SM52=yes)")
      ->group(group);
  app.add_option_function<std::string>(
         "--order", [&options](const std::string& name) { options.simt_order = to_order(name); },
         "SIMT device: order of lanes, warps and blocks that the program leaves open: ascending, descending, "
         "random")
      ->type_name("ORDER")
      ->default_str("ascending")
      ->group(group);
  app.add_option_function<std::string>(
         "--seed",
         [&options](const std::string& text) {
           options.simt_seed = to_number<std::uint64_t>("--seed", text, "an integer from 0 to 2^64 - 1");
         },
         "SIMT device: seed of --order random")
      ->type_name("N")
      ->default_str("0")
      ->group(group);
  app.add_option_function<std::string>(
         "--workers",
         [&options](const std::string& text) {
           options.simt_workers = to_number<unsigned>("--workers", text, "an integer (0: one a core)");
         },
         "SIMT device: worker threads; 0: one a core")
      ->type_name("N")
      ->default_str("0")
      ->group(group);
}

void add_json_flag(CLI::App& app, std::string& json) {
  app.add_option("--json", json, "append this run's records to FILE (JSON Lines, see results/README.md)")
      ->type_name("FILE")
      ->check([](const std::string& file) {
        return std::string(file.empty() ? "a file's name is expected" : "");
      });
}

std::optional<int> parse(CLI::App& app, const std::vector<std::string>& command) {
  std::vector<std::string> words;
  for (std::size_t i = 1; i < command.size(); ++i) {
    const std::string& word = command[i];
    // CLI11 would take the next word for the value of "--name=".
    if (word.starts_with("--") && word.find('=') == word.size() - 1) {
      words.push_back(word.substr(0, word.size() - 1));
      words.emplace_back();
    } else {
      words.push_back(word);
    }
  }
  std::vector<std::string> reversed(words.rbegin(), words.rend());  // CLI11 takes them from the back
  try {
    app.parse(reversed);
  } catch (const CLI::CallForHelp&) {
    std::cout << app.help();
    return 0;
  } catch (const CLI::ExtrasError&) {  // whose own text has them backwards
    std::string extra;
    for (const std::string& word : app.remaining()) extra += (extra.empty() ? "" : " ") + word;
    throw UsageError("not expected: " + extra + " (--help lists the flags)");
  } catch (const CLI::ParseError& error) {
    throw UsageError(std::string(error.what()) + " (--help lists the flags)");
  }
  return std::nullopt;
}

std::regex to_regex(const std::string& text, const std::string& flag) {
  // The library compiles by recursion, a level or more a character: a long one overflows the stack.
  constexpr std::size_t kMostBytes = 2000;
  if (text.size() > kMostBytes) {
    throw UsageError(flag + " " + in_quotes(text) + " has " + std::to_string(text.size()) +
                     " bytes; expected a regular expression of at most " + std::to_string(kMostBytes));
  }
  try {
    // Polynomial: the library's other way to match takes exponential time for the likes of (.*)*(.*)*x.
    return std::regex(text, std::regex::extended | std::regex_constants::__polynomial);
  } catch (const std::regex_error& error) {
    throw UsageError(flag + " '" + text +
                     "' is not a POSIX extended regular expression: " + regex_fault(text, error));
  }
}

int run_program(const char* program, int argc, char** argv,
                const std::function<int(const std::vector<std::string>& command)>& body) {
  hold_standard_descriptors();
  watch_for_stop();
  std::signal(SIGXFSZ, SIG_IGN);  // a file that may not grow is an error of write(), as a full disk is
  program_of_terminate = program;
  std::set_terminate(end_for_lack_of_memory);
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

RunLog::RunLog(const std::string& json, const std::vector<std::string>& command, const Device* device)
    : device_(device), header_(bench::header(command, device)) {
  if (!json.empty()) writer_ = std::make_unique<RecordWriter>(json, header_);
}

void RunLog::append(Json record) {
  if (!writer_) return;
  Json labelled{{"kind", record.at("kind")}, {"device_kind", device_kind(device_)}};
  labelled.update(record);
  writer_->append(labelled);
}

void RunLog::sync() {
  if (writer_) writer_->sync();
}

int RunLog::finish(std::size_t passed, std::size_t failed, std::size_t skipped,
                   const std::string& skipped_why, int exit_code, const Json& against) {
  if (interrupted()) exit_code = kInterrupted;
  if (!writer_) return exit_code;
  if (exit_code == 0 && !stdout_is_whole()) exit_code = 1;  // as run_program() will say
  const double elapsed_s = std::chrono::duration<double>(std::chrono::steady_clock::now() - start_).count();
  writer_->append(end(
      {writer_->count(), passed, failed, skipped, skipped_why, interrupted(), exit_code, elapsed_s, against},
      device_));
  writer_->sync();
  std::cerr << "records: " << printable(writer_->path().string()) << "\n";
  return exit_code;
}

}  // namespace m40llm::bench
