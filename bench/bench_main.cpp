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
#include "bench/timed_sets.hpp"
#include "engine/device/image.hpp"
#include "engine/error.hpp"

/// m40llm-bench: the time of every kernel variant, measured by Google Benchmark from device events.
namespace m40llm::bench {
namespace {

constexpr const char* kProgram = "m40llm-bench";
/// How the cases are timed.
struct Timing {
  bool rotate = false;
  LaunchedBy by = LaunchedBy::launches;
};

/// Input sets are used in turn until together they are so many times the L2, so that weights come from memory as
/// they do in a model.
struct Rotation {
  double times_l2;
  std::size_t most_sets;
};
/// Few, which are soon made: of small inputs the L2 keeps a part.
constexpr Rotation kDefault{3, 8};
/// With --rotate: enough for inputs of 200 KB and an L2 of 50 MB. What reads less is short whatever it reads.
constexpr Rotation kRotated{4, 1024};

constexpr const char* kNoL2 = "the driver does not tell the L2's size";

/// One op, variant and shape, ready on the device.
class Bench {
 public:
  Bench(Device& device, Stream& stream, const Suite& suite, const VariantInfo& variant, const Shape& shape,
        const Timing& timing)
      : device_(device),
        stream_(stream),
        suite_(suite),
        variant_(variant),
        timing_(timing),
        first_{suite.op(), variant.name, shape, inputs_of(suite)} {}

  std::string name() const { return first_.op + "/" + first_.variant + "/" + to_string(first_.shape); }

  /// What Google Benchmark calls: to find the number of iterations, then for each repetition.
  void run(benchmark::State& state) {
    if (interrupted()) return state.SkipWithError("interrupted");
    try {
      prepare();
      Samples samples;
      for (auto _ : state) {
        if (read_) samples.read_us.push_back(read_->sample_us());
        samples.us.push_back(sets_->sample_us());
        state.SetIterationTime(samples.us.back() * 1e-6);
        if (interrupted()) {
          state.SkipWithError("interrupted");
          return;
        }
      }
      calls_.push_back(std::move(samples));
      state.counters["bytes/s"] =
          benchmark::Counter(sets_->work().bytes, benchmark::Counter::kIsIterationInvariantRate);
      const Json share = share_of_plain_read(calls_.back());
      if (!share["value"].is_null())
        state.counters["of read"] = benchmark::Counter(share["value"].get<double>());
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
    Verdict verdict = judge_again(*sets_);
    if (read_ && !judge_again(*read_).passed) verdict.passed = false;
    const Json after = gpu_state_json(device_);
    for (std::size_t i = calls_.size() - n; i < calls_.size(); ++i) {
      log.append(record_of(calls_[i], verdict, after, order++, i + n - calls_.size()));
    }
    calls_.clear();
    log.sync();
    return verdict.passed;
  }

  void release() {
    sets_.reset();
    read_.reset();
  }

 private:
  /// Of one call; those of the plain read were taken in turn with the case's.
  struct Samples {
    std::vector<double> us, read_us;
  };

  static std::string inputs_of(const Suite& suite) {
    const std::vector<std::string> classes = suite.inputs();
    const bool random = std::find(classes.begin(), classes.end(), "R") != classes.end();
    return random ? "R" : classes.front();
  }

  bool on_gpu() const { return device_.info().kind == DeviceKind::cuda; }
  double l2_bytes() const { return static_cast<double>(device_.info().l2_bytes); }

  void prepare() {
    if (sets_) return;
    sets_.emplace(device_, stream_, suite_, first_);
    if (on_gpu()) {
      if (timing_.rotate) add_plain_read();
      const Rotation& rotation = timing_.rotate ? kRotated : kDefault;
      why_fewer_ =
          add_sets(*sets_, read_ ? &*read_ : nullptr, rotation.times_l2 * l2_bytes(), rotation.most_sets);
    }
    sets_->prepare(timing_.by);
    if (read_) read_->prepare(timing_.by);
    state_before_ = gpu_state_json(device_);
  }

  void add_plain_read() {
    try {
      read_.emplace(device_, stream_, suite("read"), plain_read_of(sets_->work().bytes));
    } catch (const OutOfMemory& error) {
      why_no_read_ = error.what();
    }
  }

  static Verdict judge_again(TimedSets& sets) {
    Verdict verdict = sets.judge_again();
    if (!verdict.passed) {
      std::cerr << "FAILED after timing: " << sets.first().line() << ": error/bound "
                << verdict.error_over_bound << "\n";
    }
    return verdict;
  }

  /// A share of what memory can do only where the data cannot have come from the L2. Null: it is one.
  const char* why_not_from_memory() const {
    if (!on_gpu()) return "a time on the SIMT device says nothing of a GPU";
    if (l2_bytes() <= 0) return kNoL2;
    if (sets_->bytes() <= l2_bytes()) return "all inputs fit the L2";
    return nullptr;
  }

  Json fraction_of_bandwidth(double bytes_per_s) const {
    if (const char* const why = why_not_from_memory()) return unavailable(why);
    const DeviceInfo& info = device_.info();
    if (info.bandwidth_bytes_per_s <= 0) return unavailable("the device's bandwidth is not known");
    return modelled(bytes_per_s / info.bandwidth_bytes_per_s,
                    "modelled bytes over measured time, of the peak by clock and width");
  }

  /// Both are times of as many bytes, up to a load's 16: so it is measured.
  Json share_of_plain_read(const Samples& samples) const {
    if (const char* const why = why_not_from_memory()) return unavailable(why);
    if (!timing_.rotate) return unavailable("no plain read was timed beside it: that takes --rotate");
    if (!read_) return unavailable("no room for a plain read: " + why_no_read_);
    const double rate = sets_->work().bytes / spread(samples.us).median;
    const double read_rate = read_->work().bytes / spread(samples.read_us).median;
    return measured(rate / read_rate);
  }

  /// What was done that decides where the data came from and what stands between launches.
  Json timing_json() const {
    Json times_l2 = unavailable(on_gpu() ? kNoL2 : "not a GPU");
    if (l2_bytes() > 0) times_l2 = modelled(sets_->bytes() / l2_bytes(), why_fewer_);
    return {{"rotated", timing_.rotate},
            {"launched_by", timing_.by == LaunchedBy::graph ? "graph" : "launches"},
            {"times_l2", times_l2}};
  }

  Json record_of(const Samples& samples, const Verdict& verdict, const Json& after, std::size_t order,
                 std::size_t repetition) const {
    const Case& c = first_;
    const Work work = sets_->work();
    const Spread times = spread(samples.us);
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
                {"timing", timing_json()},
                {"samples_us", samples.us},
                {"launches_per_sample", sets_->launches_per_sample()},
                {"input_sets", sets_->size()},
                {"median_us", times.median},
                {"spread", {{"p25", times.p25}, {"p75", times.p75}, {"min", times.min}, {"max", times.max}}},
                {"bytes", modelled(work.bytes)},
                {"flops", modelled(work.flops)},
                {"bytes_per_s", modelled(bytes_per_s, "modelled bytes over measured time")},
                {"fraction_of_bandwidth", fraction_of_bandwidth(bytes_per_s)},
                {"share_of_plain_read", share_of_plain_read(samples)},
                {"dram_bytes", unavailable("no hardware counters are read")},
                {"achieved_occupancy", unavailable("no hardware counters are read")},
                {"recheck",
                 {{"passed", verdict.passed},
                  {"error_over_bound", number(verdict.error_over_bound)},
                  {"output_hash", hex(verdict.output_hash)}}},
                {"gpu_state", {{"before", state_before_}, {"after", after}}}};
    if (read_) {
      record["plain_read"] = {{"bytes", modelled(read_->work().bytes)},
                              {"samples_us", samples.read_us},
                              {"launches_per_sample", read_->launches_per_sample()},
                              {"input_sets", read_->size()}};
    }
    add_launches(record, variant_.kernel, launches);
    return record;
  }

  Device& device_;
  Stream& stream_;
  const Suite& suite_;
  VariantInfo variant_;
  Timing timing_;
  Case first_;
  std::optional<TimedSets> sets_;
  std::optional<TimedSets> read_;  // beside them, of as many bytes
  std::string why_fewer_, why_no_read_;
  Json state_before_;
  std::vector<Samples> calls_;
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
  Timing timing;
  bool graph = false;
  line.group("Timing");
  line.flag(
      "--rotate", timing.rotate,
      "GPU: as many input sets, used in turn, as hold more than four times its L2 together, and in turn with "
      "the case a plain read of as many bytes, whose bandwidth the case's is a share of");
  line.flag("--graph", graph, "the launches of a sample are one graph's: no gaps of the host's making");
  if (const auto code = line.parse(own)) return *code;

  if (graph) timing.by = LaunchedBy::graph;
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
        auto bench = std::make_unique<Bench>(*device, *stream, *suite, variant, shape, timing);
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
