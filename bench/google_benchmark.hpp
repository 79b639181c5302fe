#pragma once
#include <string>
#include <vector>

#include <benchmark/benchmark.h>

/// Google Benchmark's command line and its description of the machine, as our programs show them.
namespace m40llm::bench {

/// Takes Google Benchmark's flags out of `command`, in their order.
std::vector<std::string> take_benchmark_flags(std::vector<std::string>& command);

/// What the last of a flag's occurrences says.
std::string value_of(const std::string& name, const std::vector<std::string>& flags, std::string otherwise);

/// Of Google Benchmark's flags, those with values that it takes but cannot mean: it would end with exit code
/// 0, never end, or run nothing. Throws UsageError naming flag, value and what is expected.
void check_values(const std::vector<std::string>& flags);

/// Google Benchmark's own start, with `min_time_s` where the flags do not say another. Throws UsageError on a
/// flag that it does not know. Never gives it --benchmark_out: it does not look whether that file was
/// written.
void initialize(const char* program, const std::vector<std::string>& flags, const std::string& min_time_s);

/// Runs what --benchmark_filter matches, or lists it. Throws Error where nothing matches.
void run_benchmarks(benchmark::BenchmarkReporter& reporter);

/// A reporter's description of the machine, on stderr, less its warning that the library was built as DEBUG:
/// that is Debian's package, and its code is not in the times we take (device events, or milliseconds a
/// call).
bool report_context(benchmark::BenchmarkReporter& reporter,
                    const benchmark::BenchmarkReporter::Context& context);

}  // namespace m40llm::bench
