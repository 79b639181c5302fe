#include "bench/google_benchmark.hpp"

#include <algorithm>
#include <charconv>
#include <iostream>
#include <map>
#include <sstream>

#include "bench/pattern.hpp"
#include "engine/error.hpp"

namespace m40llm::bench {
namespace {

constexpr double kMostRepetitions = 10'000;
constexpr double kLongestMinTimeS = 3600;

void check_number(const std::string& flag, const std::string& value, double least, double most) {
  double number = -1;
  const char* const end = value.data() + value.size();
  const auto [stop, failure] = std::from_chars(value.data(), end, number);
  if (failure != std::errc() || stop != end || !(number >= least && number <= most)) {
    std::ostringstream message;
    message << flag << " '" << value << "' is not a number from " << least << " to " << most;
    throw UsageError(message.str());
  }
}

}  // namespace

std::vector<std::string> take_benchmark_flags(std::vector<std::string>& command) {
  std::vector<std::string> flags;
  std::erase_if(command, [&](const std::string& word) {
    if (!word.starts_with("--benchmark_")) return false;
    flags.push_back(word);
    return true;
  });
  return flags;
}

std::string value_of(const std::string& name, const std::vector<std::string>& flags, std::string otherwise) {
  for (const std::string& flag : flags) {
    if (flag.starts_with(name + "=")) otherwise = flag.substr(name.size() + 1);
  }
  return otherwise;
}

void check_values(const std::vector<std::string>& flags) {
  const std::map<std::string, std::vector<std::string>> choices{
      {"--benchmark_format", {"console", "json"}},
      {"--benchmark_out_format", {"console", "json"}},
      {"--benchmark_time_unit", {"ns", "us", "ms", "s"}}};
  for (const std::string& flag : flags) {
    const std::size_t equals = std::min(flag.find('='), flag.size());
    const std::string name = flag.substr(0, equals);
    const std::string value = equals < flag.size() ? flag.substr(equals + 1) : "";
    if (const auto found = choices.find(name); found != choices.end()) {
      std::string known;
      for (const std::string& choice : found->second) known += (known.empty() ? "" : ", ") + choice;
      if (std::ranges::count(found->second, value) == 0)
        throw UsageError(name + " '" + value + "' is not one of " + known);
    } else if (name == "--benchmark_repetitions") {
      check_number(name, value, 1, kMostRepetitions);
    } else if (name == "--benchmark_min_time") {
      check_number(name, value, 0, kLongestMinTimeS);
    } else if (name == "--benchmark_filter" && !value.empty()) {
      // What is none for us is none for it, and of too long a one its stack would overflow. A leading '-' inverts.
      Pattern(value.substr(value.front() == '-' ? 1 : 0), name);
    } else if (name.ends_with("_aggregates_only")) {
      throw UsageError(name + ": every repetition is judged and recorded, so none can be hidden");
    }
  }
}

void initialize(const char* program, const std::vector<std::string>& flags, const std::string& min_time_s) {
  // Static: Google Benchmark keeps a pointer to the program's name.
  static std::vector<std::string> words;
  // A later one of the user's overrides these, and these the variables of the environment, of which a forgotten
  // one would leave all unmeasured.
  words = {program,
           "--benchmark_min_time=" + min_time_s,
           "--benchmark_list_tests=false",
           "--benchmark_filter=",
           "--benchmark_repetitions=1",
           "--benchmark_report_aggregates_only=false",
           "--benchmark_display_aggregates_only=false"};
  words.insert(words.end(), flags.begin(), flags.end());
  words.push_back("--benchmark_out=");  // its variable of the environment too is ours
  std::vector<char*> arguments;
  for (std::string& word : words) arguments.push_back(word.data());
  auto n = static_cast<int>(arguments.size());
  benchmark::Initialize(&n, arguments.data());
  if (n > 1) throw UsageError(std::string("unknown flag or value '") + arguments[1] + "'");
}

void run_benchmarks(benchmark::BenchmarkReporter& reporter) {
  std::ostringstream said_again;  // "Failed to match ...", which the error says
  std::ostream& errors = reporter.GetErrorStream();
  reporter.SetErrorStream(&said_again);
  const std::size_t matched = benchmark::RunSpecifiedBenchmarks(&reporter);
  reporter.SetErrorStream(&errors);
  if (matched == 0) {
    throw Error("no benchmark matches --benchmark_filter=" + benchmark::GetBenchmarkFilter() +
                " (--benchmark_list_tests shows them)");
  }
}

bool report_context(benchmark::BenchmarkReporter& reporter,
                    const benchmark::BenchmarkReporter::Context& context) {
  std::ostringstream said;
  std::ostream& errors = reporter.GetErrorStream();
  reporter.SetErrorStream(&said);
  const bool go_on = reporter.ReportContext(context);
  reporter.SetErrorStream(&errors);
  std::istringstream lines(said.str());
  for (std::string line; std::getline(lines, line);) {
    if (line.find("Library was built as DEBUG") == std::string::npos) std::cerr << line << "\n";
  }
  return go_on;
}

}  // namespace m40llm::bench
