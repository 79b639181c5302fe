#include <cstdio>
#include <iostream>
#include <limits>
#include <map>
#include <new>
#include <set>
#include <tuple>

#include "bench/evidence.hpp"
#include "bench/options.hpp"
#include "bench/pattern.hpp"
#include "bench/provenance.hpp"
#include "bench/run_log.hpp"
#include "bench/suite.hpp"
#include "engine/device/image.hpp"
#include "engine/error.hpp"

/// m40llm-parity: every op's variants against the reference, judged by the gates.
namespace m40llm::bench {
namespace {

constexpr const char* kProgram = "m40llm-parity";
constexpr std::size_t kFailuresShown = 10;

struct Options {
  CommonOptions common;
  std::string op;
  std::string filter;
  std::vector<std::string> cases;
  std::string sweep = "model";
  std::vector<std::string> against;
  bool list = false;
};

std::vector<Sweep> sweeps(const std::string& name) {
  static const std::map<std::string, std::vector<Sweep>> kSweeps{
      {"smoke", {Sweep::smoke}},
      {"model", {Sweep::model}},
      {"edge", {Sweep::edge}},
      {"all", {Sweep::smoke, Sweep::model, Sweep::edge}}};
  const auto found = kSweeps.find(name);
  if (found == kSweeps.end())
    throw UsageError("--sweep '" + name + "' is not one of smoke, model, edge, all");
  return found->second;
}

struct Selection {
  std::vector<Case> cases;         ///< in the order of suites, variants of an op together
  std::size_t not_applicable = 0;  ///< shapes that a variant does not take
};

Selection select(const Options& options) {
  Selection selection;
  if (!options.cases.empty()) {
    for (const std::string& line : options.cases) {
      const Case c = Case::parse(line);
      suite(c.op).check(c);
      selection.cases.push_back(c);
    }
    return selection;
  }
  const Pattern op(options.op, "--op");
  const Pattern filter(options.filter, "--filter");
  for (const auto& suite : suites()) {
    if (!options.op.empty() && !op.matches(suite->op())) continue;
    for (const VariantInfo& variant : suite->variants()) {
      std::set<std::string> seen;  // sweeps share shapes
      for (const Sweep sweep : sweeps(options.sweep)) {
        for (const Shape& shape : suite->shapes(sweep)) {
          for (const std::string& inputs : suite->inputs_at(shape)) {
            const Case c{suite->op(), variant.name, shape, inputs};
            const std::string line = c.line();
            if (!seen.insert(line).second || !filter.is_in(line)) continue;
            if (suite->applies(variant.name, shape)) {
              selection.cases.push_back(c);
            } else {
              ++selection.not_applicable;
            }
          }
        }
      }
    }
  }
  return selection;
}

VariantInfo variant_info(const Suite& suite, const std::string& name) {
  for (const VariantInfo& variant : suite.variants()) {
    if (variant.name == name) return variant;
  }
  throw UsageError("op '" + suite.op() + "' has no variant '" + name + "'");
}

/// One row of the table: a variant's cases.
struct Row {
  std::size_t cases = 0;
  std::size_t failed = 0;
  double worst = -1;
  std::string worst_case;
};

void print_row(const std::string& name, const Row& row) {
  std::printf("%-32s %7zu %7zu %14.4g  %s\n", name.c_str(), row.cases, row.failed, row.worst,
              row.worst_case.c_str());
  std::fflush(stdout);
}

Json record(const Suite& suite, const Case& c, const Device& device) {
  const VariantInfo variant = variant_info(suite, c.variant);
  const std::vector<Launch> launches = suite.launches(c.variant, c.shape, device.n_sms());
  Json record{{"kind", "parity"},
              {"op", c.op},
              {"variant", c.variant},
              {"kernel", variant.kernel},
              {"dtype", suite.dtype()},
              {"shape", named(c.shape)},
              {"inputs", c.inputs},
              {"seed", c.seed},
              {"line", c.line()},
              {"source_hash", hex(source_hash(launches))},
              {"bit_exact", variant.bit_exact},
              {"image", image_json(device, variant.kernel)}};
  add_launches(record, variant.kernel, launches);
  return record;
}

void add_verdict(Json& record, const Verdict& verdict) {
  record["passed"] = verdict.passed;
  record["error_over_bound"] = number(verdict.error_over_bound);
  record["worst"] = {{"index", verdict.worst},
                     {"got", number(verdict.got)},
                     {"want", number(verdict.want)},
                     {"bound", number(verdict.bound)}};
  record["n_outputs"] = verdict.n_outputs;
  record["output_hash"] = hex(verdict.output_hash);
}

void add_fault(Json& record, const std::string& fault) {
  record["passed"] = false;
  record["error_over_bound"] = "inf";
  record["worst"] = nullptr;
  record["n_outputs"] = 0;
  record["output_hash"] = nullptr;
  record["fault"] = fault;
}

int run(const std::vector<std::string>& command) {
  Options options;
  CommandLine line("Judges every kernel variant against the reference in float64, by the gates.", kProgram);
  line.text("--op", options.op, "only ops whose whole name matches this regular expression", "REGEX");
  line.text("--filter", options.filter, "only cases whose line contains a match", "REGEX");
  line.text("--sweep", options.sweep, "shapes: smoke, model, edge or all", "NAME");
  line.texts("--case", options.cases, "only this case, as --list and failures print it; repeatable", "LINE");
  line.exclude("--case", {"--op", "--filter", "--sweep"});  // which would choose nothing
  line.texts("--against", options.against,
             "records of other runs, on any device: equal kernels must have given equal bits, and something "
             "must be equal; repeatable",
             "FILE");
  line.flag("--list", options.list, "print the cases and run none");
  add_json_flag(line, options.common.json);
  add_device_flags(line, options.common.device);
  if (const auto code = line.parse(command)) return *code;

  const Selection selection = select(options);
  if (selection.cases.empty()) {
    throw Error("no case matches" +
                (options.op.empty() ? "" : " --op '" + options.op + "' (an op's whole name)") +
                (options.filter.empty() ? "" : " --filter '" + options.filter + "'") + " in sweep '" +
                options.sweep + "'; --list with nothing but --sweep shows the cases");
  }
  if (options.list) {
    for (const Case& c : selection.cases) std::cout << c.line() << "\n";
    return 0;
  }
  Evidence evidence(options.against);

  const std::unique_ptr<Device> device = open_device(options.common.device);
  std::cerr << describe(device->info()) << "\n";
  RunLog log(options.common.json, command, device.get());
  std::unique_ptr<Stream> stream = device->create_stream();

  std::printf("%-32s %7s %7s %14s  %s\n", "op/variant", "cases", "failed", "error/bound", "worst at");
  std::vector<std::string> failures;
  std::size_t failed = 0;
  std::size_t done = 0;
  std::size_t unavailable = 0;
  bool device_lost = false;
  Row row;
  for (std::size_t i = 0; i < selection.cases.size() && !interrupted() && !device_lost; ++i) {
    const Case& c = selection.cases[i];
    const Suite& of = suite(c.op);
    Json entry = record(of, c, *device);
    std::string failure;
    std::string why_unavailable;
    double error_over_bound = std::numeric_limits<double>::infinity();
    try {
      const std::unique_ptr<Trial> trial = of.trial(*device, c);
      trial->reset(*stream);
      trial->launch(*stream);
      const Verdict verdict = trial->judge(*stream);
      add_verdict(entry, verdict);
      error_over_bound = verdict.error_over_bound;
      if (!verdict.passed) {
        char text[200];
        std::snprintf(text, sizeof text,
                      "error/bound %.4g at output %zu of %zu: got %.9g, want %.9g, bound %.3g",
                      verdict.error_over_bound, verdict.worst, verdict.n_outputs, verdict.got, verdict.want,
                      verdict.bound);
        failure = text;
      } else if (!options.against.empty() &&
                 evidence.compare(log.header(), entry) == Evidence::Finding::different) {
        entry["passed"] = false;
        failure = "other bits than recorded (output hash " + entry["output_hash"].get<std::string>() + ")";
        entry["fault"] = failure;
      }
    } catch (const Unavailable& why) {
      why_unavailable = why.what();
    } catch (const OutOfMemory& refusal) {
      failure = refusal.what();
      add_fault(entry, failure);
    } catch (const std::bad_alloc&) {
      failure = "not enough memory on this machine for a case of this shape";
      add_fault(entry, failure);
    } catch (const LaunchRefused& refused) {
      failure = refused.what();
      add_fault(entry, failure);
      stream =
          device->create_stream();  // the case's copies are done: its memory is gone; their faults go too
    } catch (const DeviceFault& fault) {
      failure = fault.what();
      add_fault(entry, failure);
      // A GPU's context is gone after a fault; the SIMT device goes on with a fresh stream.
      device_lost = device->info().kind == DeviceKind::cuda;
      if (!device_lost) stream = device->create_stream();
    }
    if (!why_unavailable.empty()) {
      ++unavailable;
      std::cout << "unavailable: " << c.line() << ": " << why_unavailable << "\n";
    } else {
      log.append(entry);
      ++done;
      ++row.cases;
      if (error_over_bound > row.worst) {
        row.worst = error_over_bound;
        row.worst_case = to_string(c.shape) + " " + c.inputs;
      }
    }
    if (!failure.empty()) {
      ++failed;
      ++row.failed;
      if (failures.size() < kFailuresShown) failures.push_back(c.line() + "\n      " + failure);
    }
    const bool last = i + 1 == selection.cases.size();
    const bool row_ends =
        last || selection.cases[i + 1].op != c.op || selection.cases[i + 1].variant != c.variant;
    if (row_ends || interrupted() || device_lost) {
      print_row(c.op + "/" + c.variant, row);
      row = {};
      log.sync();
    }
  }

  for (const std::string& failure : failures) {
    std::cout << "FAILED " << failure << "\n      again: " << kProgram << " --case \""
              << failure.substr(0, failure.find('\n')) << "\"\n";
  }
  if (failed > failures.size()) std::cout << "... and " << failed - failures.size() << " more\n";
  const bool no_evidence = !options.against.empty() && !evidence.passed();
  if (!options.against.empty()) std::cout << evidence.text() << "\n";
  std::cout << done << " cases, " << failed << " failed";
  const std::size_t not_run = selection.cases.size() - done - unavailable;
  if (unavailable > 0) std::cout << ", " << unavailable << " unavailable";
  if (not_run > 0) std::cout << ", " << not_run << " not run";
  std::cout << "\n";

  const std::size_t skipped = selection.not_applicable + unavailable + not_run;
  std::string why;
  const auto add_reason = [&](std::size_t cases, const char* reason) {
    if (cases == 0) return;
    why += (why.empty() ? "" : ", ") + std::string(reason);
    if (cases < skipped) why += " (" + std::to_string(cases) + ")";
  };
  add_reason(not_run, device_lost ? "the device failed" : "interrupted");
  add_reason(unavailable, "more memory than the device has");
  add_reason(selection.not_applicable, "the variant does not take the shape");
  return log.finish(done - failed, failed, skipped, why,
                    failed > 0 || not_run > 0 || done == 0 || no_evidence ? 1 : 0,
                    options.against.empty() ? Json(nullptr) : evidence.json());
}

}  // namespace
}  // namespace m40llm::bench

int main(int argc, char** argv) {
  return m40llm::bench::run_program("m40llm-parity", argc, argv, m40llm::bench::run);
}
