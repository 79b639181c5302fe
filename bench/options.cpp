#include "bench/options.hpp"

#include <charconv>
#include <csignal>
#include <cstdio>
#include <iostream>
#include <new>

#include "engine/error.hpp"

namespace m40llm::bench {
namespace {

volatile std::sig_atomic_t stop_asked = 0;

void watch_for_stop() {
  struct sigaction action {};
  action.sa_handler = [](int) { stop_asked = 1; };
  action.sa_flags = static_cast<int>(SA_RESETHAND);  // the second one ends the program
  ::sigaction(SIGINT, &action, nullptr);
  ::sigaction(SIGTERM, &action, nullptr);
}

SimtOrder to_order(const std::string& name) {
  if (name == "ascending") return SimtOrder::ascending;
  if (name == "descending") return SimtOrder::descending;
  if (name == "random") return SimtOrder::random;
  throw UsageError("--order '" + name + "' is not one of ascending, descending, random");
}

/// CLI11 itself takes -1 and numbers past the range for the largest seed.
std::uint64_t to_seed(const std::string& text) {
  std::uint64_t seed = 0;
  const char* const end = text.data() + text.size();
  const auto [stop, failure] = std::from_chars(text.data(), end, seed);
  if (failure != std::errc() || stop != end)
    throw UsageError("--seed '" + text + "' is not an integer from 0 to 2^64 - 1");
  return seed;
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
         "--seed", [&options](const std::string& text) { options.simt_seed = to_seed(text); },
         "SIMT device: seed of --order random")
      ->type_name("N")
      ->default_str("0")
      ->group(group);
  app.add_option("--workers", options.simt_workers, "SIMT device: worker threads; 0: one a core")
      ->type_name("N")
      ->capture_default_str()
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
  std::vector<std::string> reversed(command.rbegin(), command.rend() - 1);  // CLI11 takes them from the back
  try {
    app.parse(reversed);
  } catch (const CLI::CallForHelp&) {
    std::cout << app.help();
    return 0;
  } catch (const CLI::ParseError& error) {
    throw UsageError(std::string(error.what()) + " (--help lists the flags)");
  }
  return std::nullopt;
}

std::regex to_regex(const std::string& text, const std::string& flag) {
  try {
    return std::regex(text, std::regex::extended);
  } catch (const std::regex_error& error) {
    throw UsageError(flag + " '" + text + "' is not a regular expression: " + error.what());
  }
}

int run_program(const char* program, int argc, char** argv,
                const std::function<int(const std::vector<std::string>& command)>& body) {
  watch_for_stop();
  std::vector<std::string> command(argv, argv + argc);
  if (command.empty()) command.emplace_back(program);
  const auto fail = [program](const std::string& what, int code) {
    std::cout.flush();
    std::cerr << program << ": error: " << what << "\n";
    return code;
  };
  try {
    const int code = body(command);
    std::cout.flush();
    if (!std::cout || std::fflush(stdout) != 0 || std::ferror(stdout) != 0) {
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
    : command_(command), device_(device) {
  if (!json.empty()) writer_ = std::make_unique<RecordWriter>(json);
}

void RunLog::append_header() {
  if (writer_->count() == 0) writer_->append(header(command_, device_));
}

void RunLog::append(Json record) {
  if (!writer_) return;
  append_header();
  Json labelled{{"kind", record.at("kind")}, {"device_kind", device_kind(device_)}};
  labelled.update(record);
  writer_->append(labelled);
}

void RunLog::sync() {
  if (writer_) writer_->sync();
}

int RunLog::finish(std::size_t passed, std::size_t failed, std::size_t skipped,
                   const std::string& skipped_why, int exit_code) {
  if (interrupted()) exit_code = kInterrupted;
  if (!writer_) return exit_code;
  append_header();
  const double elapsed_s = std::chrono::duration<double>(std::chrono::steady_clock::now() - start_).count();
  writer_->append(
      end({writer_->count(), passed, failed, skipped, skipped_why, interrupted(), exit_code, elapsed_s},
          device_));
  writer_->sync();
  std::cout << "records: " << writer_->path().string() << "\n";
  return exit_code;
}

}  // namespace m40llm::bench
