#include <benchmark/benchmark.h>
#include <immintrin.h>

#include <cmath>
#include <cstdio>
#include <memory>
#include <vector>

#include "bench/google_benchmark.hpp"
#include "bench/options.hpp"
#include "engine/device/buffer.hpp"
#include "engine/device/simt/simt_device.hpp"
#include "engine/error.hpp"
#include "engine/ops/gemv.hpp"
#include "kernels/simt/scheduler.hpp"

/// m40llm-simt-speed: how fast the SIMT device runs a kernel beside a plain loop with the same arithmetic and
/// flags, on one core: the F16 GEMV with a warp a row, 2048 x 2048. Says nothing of a GPU.
namespace m40llm::bench {
namespace {

constexpr const char* kProgram = "m40llm-simt-speed";

constexpr int kSize = 2048;
constexpr double kMultiplyAdds = 1.0 * kSize * kSize;

struct Problem {
  std::vector<half> a = std::vector<half>(std::size_t{kSize} * kSize);
  std::vector<float> x = std::vector<float>(kSize);
  std::vector<float> y = std::vector<float>(kSize);

  Problem() {
    unsigned state = 1;
    const auto next = [&] {  // a linear congruential sequence (Numerical Recipes), in [-1, 1)
      state = state * 1664525u + 1013904223u;
      return static_cast<float>(static_cast<int>(state)) * 0x1p-31f;
    };
    for (half& w : a) w.bits = _cvtss_sh(next(), 0);
    for (float& v : x) v = next();
  }
};

const Problem& problem() {
  static const Problem instance;
  return instance;
}

/// What gemv_f16_shared computes: 32 lanes, four sums each, pairs.
[[gnu::noinline]] void gemv(const Problem& p, float* y) {
  for (std::size_t row = 0; row < kSize; ++row) {
    float lanes[32];
    for (std::size_t lane = 0; lane < 32; ++lane) {
      float sums[4] = {};
      for (std::size_t i = lane * 8; i < kSize; i += 256) {
        for (std::size_t j = 0; j < 8; ++j)
          sums[j % 4] = std::fmaf(_cvtsh_ss(p.a[row * kSize + i + j].bits), p.x[i + j], sums[j % 4]);
      }
      lanes[lane] = (sums[0] + sums[1]) + (sums[2] + sums[3]);
    }
    for (std::size_t offset = 16; offset != 0; offset /= 2) {
      for (std::size_t lane = 0; lane < offset; ++lane) lanes[lane] += lanes[lane + offset];
    }
    y[row] = lanes[0];
  }
}

void count(benchmark::State& state) {
  state.counters["multiply_adds/s"] = benchmark::Counter(
      kMultiplyAdds, benchmark::Counter::kIsIterationInvariantRate, benchmark::Counter::kIs1000);
}

void plain_loop(benchmark::State& state) {
  if (interrupted()) return state.SkipWithError("interrupted");
  std::vector<float> y(kSize);
  for ([[maybe_unused]] auto _ : state) {
    gemv(problem(), y.data());
    benchmark::DoNotOptimize(y.data());
    benchmark::ClobberMemory();
    if (interrupted()) return state.SkipWithError("interrupted");
  }
  count(state);
}

void simt_device(benchmark::State& state) {
  if (interrupted()) return state.SkipWithError("interrupted");
  DeviceOptions options;
  options.simt_workers = 1;
  const std::unique_ptr<Device> device = open_simt_device(options);
  const std::unique_ptr<Stream> stream = device->create_stream();
  const Problem& p = problem();
  const Buffer<half> a(*device, p.a.size(), "weights");
  const Buffer<float> x(*device, p.x.size(), "x");
  const Buffer<float> y(*device, kSize, "y");
  a.upload(*stream, p.a);
  x.upload(*stream, p.x);
  stream->synchronize();
  const GemvParams params{{a.data(), nullptr, kSize, kSize, kSize, Format::f16}, x.data(), y.data()};
  const Variant<GemvParams>& variant = gemv_op(Format::f16, Activations::float32).variant("shared");
  for ([[maybe_unused]] auto _ : state) {
    for (const Launch& launch : variant.launches(params, device->n_sms(), {})) stream->launch(launch);
    stream->synchronize();
    if (interrupted()) return state.SkipWithError("interrupted");
  }
  count(state);
  std::vector<float> expected(kSize);
  gemv(p, expected.data());
  if (y.download(*stream) != expected) state.SkipWithError("the kernel's result differs from the loop's");
}

/// The usual table, and what of the loop's speed the device reaches.
class Reporter : public benchmark::BenchmarkReporter {
 public:
  bool ReportContext(const Context& context) override { return report_context(table_, context); }
  void ReportRuns(const std::vector<Run>& runs) override {
    for (const Run& run : runs) {
      if (run.error_occurred) failed = true;
      const auto rate = run.counters.find("multiply_adds/s");
      if (rate != run.counters.end())
        (run.run_name.function_name == "plain_loop" ? loop : device) = rate->second.value;
    }
    table_.ReportRuns(runs);
  }
  double loop = 0;
  double device = 0;
  bool failed = false;

 private:
  benchmark::ConsoleReporter table_{benchmark::ConsoleReporter::OO_Tabular};
};

int run(const std::vector<std::string>& command) {
  std::vector<std::string> own = command;
  const std::vector<std::string> flags = take_benchmark_flags(own);
  CommandLine line("How fast the SIMT device runs a kernel, beside a plain loop of the same arithmetic.",
                   kProgram);
  line.footer(
      "Google Benchmark's flags work as always, with '=': --benchmark_filter=REGEX, --benchmark_list_tests, "
      "...");
  if (const auto code = line.parse(own)) return *code;
  check_values(flags);
  for (const char* flag : {"--benchmark_out", "--benchmark_out_format", "--benchmark_format"}) {
    if (!value_of(flag, flags, "").empty())
      throw UsageError(std::string(flag) + ": this program prints a table alone");
  }
  initialize(kProgram, flags, "0.5");
  benchmark::RegisterBenchmark("plain_loop", plain_loop)->UseRealTime()->Unit(benchmark::kMillisecond);
  benchmark::RegisterBenchmark("simt_device", simt_device)->UseRealTime()->Unit(benchmark::kMillisecond);
  Reporter reporter;
  run_benchmarks(reporter);
  if (interrupted()) return kInterrupted;
  if (reporter.loop > 0 && reporter.device > 0) {
    std::printf("%s: loop %.1f, SIMT device %.1f M multiply-adds/s: %.3f of it\n",
                simt::kChecked ? "checked" : "plain", reporter.loop / 1e6, reporter.device / 1e6,
                reporter.device / reporter.loop);
  }
  return reporter.failed ? 1 : 0;
}

}  // namespace
}  // namespace m40llm::bench

int main(int argc, char** argv) {
  return m40llm::bench::run_program("m40llm-simt-speed", argc, argv, m40llm::bench::run);
}
