#include <algorithm>
#include <cmath>
#include <filesystem>
#include <functional>
#include <iostream>
#include <map>
#include <new>
#include <optional>
#include <sstream>

#include <benchmark/benchmark.h>

#include "bench/google_benchmark.hpp"
#include "bench/options.hpp"
#include "bench/output_file.hpp"
#include "bench/provenance.hpp"
#include "bench/run_log.hpp"
#include "bench/statistics.hpp"
#include "bench/suite.hpp"
#include "engine/device/image.hpp"
#include "engine/error.hpp"

/// m40llm-bench: the time of every kernel variant, measured by Google Benchmark from device events.
namespace m40llm::bench {
namespace {

constexpr const char* kProgram = "m40llm-bench";
/// A sample shorter than this would mostly be the events' own time, so short kernels are launched several
/// times a sample.
constexpr double kShortestSampleUs = 100;
constexpr int kMostLaunchesPerSample = 256;
/// Input sets are rotated until together they are this many times the L2, so that weights come from memory as
/// they do in a model.
constexpr double kTimesL2 = 3;
constexpr int kMostInputSets = 8;

/// One op, variant and shape, ready on the device.
class Bench {
 public:
  Bench(Device& device, Stream& stream, const Suite& suite, const VariantInfo& variant, const Shape& shape)
      : device_(device), stream_(stream), suite_(suite), variant_(variant), shape_(shape) {}

  std::string name() const { return suite_.op() + "/" + variant_.name + "/" + to_string(shape_); }

  /// What Google Benchmark calls: to find the number of iterations, then for each repetition.
  void run(benchmark::State& state) {
    if (interrupted()) return state.SkipWithError("interrupted");
    try {
      prepare();
      std::vector<double> samples;
      for (auto _ : state) {
        samples.push_back(timed_us());
        state.SetIterationTime(samples.back() * 1e-6);
        if (interrupted()) {
          state.SkipWithError("interrupted");
          return;
        }
      }
      calls_.push_back(std::move(samples));
      const Work work = sets_.front()->work();
      state.counters["bytes/s"] =
          benchmark::Counter(work.bytes, benchmark::Counter::kIsIterationInvariantRate);
    } catch (const DeviceFault& fault) {
      state.SkipWithError(fault.what());
    } catch (const Error& error) {
      state.SkipWithError(error.what());
    } catch (const std::bad_alloc&) {
      state.SkipWithError("not enough memory on this machine");
    }
  }

  /// The last `n` calls' samples are what the reporter reports; the calls before searched for the number of
  /// iterations. Records them, judges the outputs again, and frees the device's memory. False if a judge says
  /// no.
  bool record(std::size_t n, std::size_t& order, RunLog& log) {
    const Verdict verdict = judge_again();
    const Json after = gpu_state_json(device_);
    for (std::size_t i = calls_.size() - n; i < calls_.size(); ++i) {
      log.append(record_of(calls_[i], verdict, after, order++, i + n - calls_.size()));
    }
    calls_.clear();
    log.sync();
    if (!verdict.passed) {
      std::cerr << "FAILED after timing: " << case_of(0).line() << ": error/bound "
                << verdict.error_over_bound << "\n";
    }
    return verdict.passed;
  }

  void release() { sets_.clear(); }

 private:
  Case case_of(std::size_t set) const {
    const std::vector<std::string> classes = suite_.inputs();
    const bool random = std::find(classes.begin(), classes.end(), "R") != classes.end();
    return {suite_.op(), variant_.name, shape_, random ? "R" : classes.front(), 1 + set};
  }

  bool on_gpu() const { return device_.info().kind == DeviceKind::cuda; }

  void prepare() {
    if (!sets_.empty()) return;
    sets_.push_back(suite_.trial(device_, case_of(0)));
    if (on_gpu()) {
      const double l2 = static_cast<double>(device_.info().l2_bytes);
      const double wanted = std::ceil(kTimesL2 * l2 / std::max(1.0, sets_.front()->work().bytes));
      const auto n = static_cast<std::size_t>(std::clamp(wanted, 1.0, static_cast<double>(kMostInputSets)));
      while (sets_.size() < n) sets_.push_back(suite_.trial(device_, case_of(sets_.size())));
    }
    before_ = device_.create_event();
    after_ = device_.create_event();
    for (const auto& set : sets_) set->reset(stream_);
    launches_per_sample_ = 1;
    timed_us();  // the first launch loads the kernel
    state_before_ = gpu_state_json(device_);
    if (on_gpu()) {
      const double once_us = std::max(0.5, timed_us());
      launches_per_sample_ = static_cast<int>(std::clamp(std::ceil(kShortestSampleUs / once_us), 1.0,
                                                         static_cast<double>(kMostLaunchesPerSample)));
    }
  }

  /// The time of one launch, as a mean over the sample's launches; to the nanosecond, finer than any of the
  /// timers.
  double timed_us() {
    stream_.record(*before_);
    for (int i = 0; i < launches_per_sample_; ++i) sets_[next_++ % sets_.size()]->launch(stream_);
    stream_.record(*after_);
    stream_.synchronize();
    return std::round(1000 * after_->elapsed_us(*before_) / launches_per_sample_) / 1000;
  }

  /// Kernels that change their input in place have been applied many times over by now, so each set starts
  /// afresh.
  Verdict judge_again() {
    Verdict worst;
    bool first = true;
    for (const auto& set : sets_) {
      set->reset(stream_);
      set->launch(stream_);
      const Verdict verdict = set->judge(stream_);
      if (first || !verdict.passed || (worst.passed && verdict.error_over_bound > worst.error_over_bound))
        worst = verdict;
      first = false;
      if (!worst.passed) break;
    }
    return worst;
  }

  /// A share of the memory's bandwidth only where the data cannot have come from the L2.
  Json fraction_of_bandwidth(double bytes_per_s, double bytes) const {
    const DeviceInfo& info = device_.info();
    if (!on_gpu()) return unavailable("a time on the SIMT device says nothing of a GPU");
    if (info.bandwidth_bytes_per_s <= 0) return unavailable("the device's bandwidth is not known");
    if (bytes * static_cast<double>(sets_.size()) <= static_cast<double>(info.l2_bytes)) {
      return unavailable("all inputs fit the L2");
    }
    return modelled(bytes_per_s / info.bandwidth_bytes_per_s,
                    "modelled bytes over measured time, of the peak by clock and width");
  }

  Json record_of(const std::vector<double>& samples, const Verdict& verdict, const Json& after,
                 std::size_t order, std::size_t repetition) const {
    const Case c = case_of(0);
    const Work work = sets_.front()->work();
    const Spread times = spread(samples);
    const double bytes_per_s = work.bytes / (times.median * 1e-6);
    const std::vector<Launch> launches = suite_.launches(variant_.name, c.shape, device_.n_sms());
    Json record{{"kind", "bench"},
                {"op", c.op},
                {"variant", c.variant},
                {"kernel", variant_.kernel},
                {"dtype", suite_.dtype()},
                {"shape", named(c.shape)},
                {"inputs", c.inputs},
                {"seed", c.seed},
                {"source_hash", hex(source_hash(launches))},
                {"image", image_json(device_, variant_.kernel)},
                {"order", order},
                {"repetition", repetition},
                {"timer", on_gpu() ? "cuda_event" : "simt_wall"},
                {"samples_us", samples},
                {"launches_per_sample", launches_per_sample_},
                {"input_sets", sets_.size()},
                {"median_us", times.median},
                {"spread", {{"p25", times.p25}, {"p75", times.p75}, {"min", times.min}, {"max", times.max}}},
                {"bytes", modelled(work.bytes)},
                {"flops", modelled(work.flops)},
                {"bytes_per_s", modelled(bytes_per_s, "modelled bytes over measured time")},
                {"fraction_of_bandwidth", fraction_of_bandwidth(bytes_per_s, work.bytes)},
                {"dram_bytes", unavailable("no hardware counters are read")},
                {"achieved_occupancy", unavailable("no hardware counters are read")},
                {"recheck",
                 {{"passed", verdict.passed},
                  {"error_over_bound", number(verdict.error_over_bound)},
                  {"output_hash", hex(verdict.output_hash)}}},
                {"gpu_state", {{"before", state_before_}, {"after", after}}}};
    add_launches(record, variant_.kernel, launches);
    return record;
  }

  Device& device_;
  Stream& stream_;
  const Suite& suite_;
  VariantInfo variant_;
  Shape shape_;
  std::vector<std::unique_ptr<Trial>> sets_;
  std::unique_ptr<Event> before_, after_;
  Json state_before_;
  std::size_t next_ = 0;
  int launches_per_sample_ = 1;
  std::vector<std::vector<double>> calls_;
};

using Printer = std::unique_ptr<benchmark::BenchmarkReporter>;

/// Prints as the chosen formats do, and records what was measured.
class Recorder : public benchmark::BenchmarkReporter {
 public:
  /// `start` opens the records; it is called when Google Benchmark has found something to run.
  Recorder(std::vector<Printer> printers, std::map<std::string, Bench*> benches,
           std::function<std::unique_ptr<RunLog>()> start)
      : printers_(std::move(printers)), benches_(std::move(benches)), start_(std::move(start)) {}

  bool ReportContext(const Context& context) override {
    log_ = start_();
    return std::ranges::all_of(printers_,
                               [&](const Printer& printer) { return report_context(*printer, context); });
  }
  void Finalize() override {
    for (const Printer& printer : printers_) printer->Finalize();
  }

  void ReportRuns(const std::vector<Run>& runs) override {
    for (const Printer& printer : printers_) printer->ReportRuns(runs);
    std::string name;
    std::size_t measured_runs = 0;
    bool error = false;
    for (const Run& run : runs) {
      if (run.run_type != Run::RT_Iteration) continue;
      name = run.run_name.function_name;
      error = error || run.error_occurred;
      ++measured_runs;
    }
    const auto bench = benches_.find(name);
    if (bench == benches_.end()) return;
    if (error && interrupted()) {
      ++skipped_;
      return;
    }
    try {
      ++(!error && bench->second->record(measured_runs, order_, *log_) ? passed_ : failed_);
    } catch (const DeviceFault& fault) {
      std::cerr << "FAILED after timing: " << name << ": " << fault.what() << "\n";
      ++failed_;
    }
    bench->second->release();
  }

  /// Null if nothing was to be run.
  RunLog* log() const { return log_.get(); }
  std::size_t passed() const { return passed_; }
  std::size_t failed() const { return failed_; }
  /// Left out after Ctrl-C.
  std::size_t skipped() const { return skipped_; }

 private:
  std::vector<Printer> printers_;
  std::map<std::string, Bench*> benches_;
  std::function<std::unique_ptr<RunLog>()> start_;
  std::unique_ptr<RunLog> log_;
  std::size_t order_ = 0, passed_ = 0, failed_ = 0, skipped_ = 0;
};

Printer printer_for(const std::string& format) {
  if (format == "json") return std::make_unique<benchmark::JSONReporter>();
  return std::make_unique<benchmark::ConsoleReporter>(benchmark::ConsoleReporter::OO_Tabular);
}

int run(const std::vector<std::string>& command) {
  CommonOptions options;
  std::vector<std::string> own = command;
  const std::vector<std::string> flags = take_benchmark_flags(own);
  CommandLine line(
      "Times every kernel variant with Google Benchmark, from device events, and judges the outputs again.",
      kProgram);
  line.footer(
      "Google Benchmark's flags work as always, with '=': --benchmark_filter=REGEX, --benchmark_list_tests,\n"
      "--benchmark_min_time=SECONDS, --benchmark_repetitions=N, --benchmark_format=console|json,\n"
      "--benchmark_out=FILE, --benchmark_enable_random_interleaving=true, ...");
  add_json_flag(line, options.json);
  add_device_flags(line, options.device);
  if (const auto code = line.parse(own)) return *code;

  check_values(flags);
  const std::string out = value_of("--benchmark_out", flags, "");
  std::optional<OutputFile> out_file;
  if (!out.empty()) out_file.emplace("--benchmark_out", out);
  std::error_code unknown;
  if (out_file && (out == options.json || std::filesystem::equivalent(out, options.json, unknown)))
    throw UsageError("--benchmark_out and --json '" + out + "' are one file: expected two");

  const std::unique_ptr<Device> device = open_device(options.device);
  const bool on_gpu = device->info().kind == DeviceKind::cuda;
  std::cerr << describe(device->info()) << "\n";
  // Google Benchmark's own 0.5 s is for host code: samples of 5 us fill a record with noise. On the SIMT
  // device a launch takes milliseconds.
  initialize(kProgram, flags, on_gpu ? "0.1" : "0.02");
  const std::unique_ptr<Stream> stream = device->create_stream();

  std::vector<std::unique_ptr<Bench>> benches;
  std::map<std::string, Bench*> by_name;
  for (const auto& suite : suites()) {
    for (const VariantInfo& variant : suite->variants()) {
      // The CPU takes seconds for what is large enough to time on a GPU.
      for (const Shape& shape : suite->shapes(on_gpu ? Sweep::bench : Sweep::model)) {
        if (!suite->applies(variant.name, shape)) continue;
        auto bench = std::make_unique<Bench>(*device, *stream, *suite, variant, shape);
        if (!by_name.emplace(bench->name(), bench.get()).second) continue;
        benchmark::RegisterBenchmark(bench->name().c_str(),
                                     [b = bench.get()](benchmark::State& state) { b->run(state); })
            ->UseManualTime()
            ->Unit(benchmark::kMicrosecond);
        benches.push_back(std::move(bench));
      }
    }
  }

  std::ostringstream out_text;
  std::vector<Printer> printers;
  printers.push_back(printer_for(value_of("--benchmark_format", flags, "console")));
  if (out_file) {
    printers.push_back(printer_for(value_of("--benchmark_out_format", flags, "json")));
    printers.back()->SetOutputStream(&out_text);
  }
  Recorder recorder(std::move(printers), by_name,
                    [&] { return std::make_unique<RunLog>(options.json, command, device.get()); });
  run_benchmarks(recorder);
  if (recorder.log() == nullptr) return 0;  // --benchmark_list_tests
  std::string unwritten;
  try {
    if (out_file) out_file->write(out_text.str());
  } catch (const Error& error) {
    unwritten = error.what();
  }
  const int code = recorder.log()->finish(recorder.passed(), recorder.failed(), recorder.skipped(),
                                          recorder.skipped() > 0 ? "interrupted" : "",
                                          recorder.failed() > 0 || !unwritten.empty() ? 1 : 0);
  if (!unwritten.empty()) throw Error(unwritten);
  return code;
}

}  // namespace
}  // namespace m40llm::bench

int main(int argc, char** argv) {
  return m40llm::bench::run_program("m40llm-bench", argc, argv, m40llm::bench::run);
}
