// What watches the kernels, itself tested: every planted fault must be caught by the net that its entry names.
// With M40LLM_PLANTED=FILE (scripts/planted) every net of this build is tried on every fault, and what each
// caught is written to FILE, one JSON object a line.
#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <nlohmann/json.hpp>
#include <stdexcept>

#include "bench/pattern.hpp"
#include "bench/suite.hpp"
#include "engine/device/simt/simt_device.hpp"
#include "tests/bench/orders.hpp"
#include "tests/bench/rows.hpp"
#include "tests/decode/ring_checks.hpp"
#include "tests/language/checks.hpp"
#include "tests/mutations/mutant.hpp"

namespace m40llm::testing {
namespace {

constexpr std::string_view kGates = "gates", kSanitizer = "sanitizer";
#if defined(__SANITIZE_ADDRESS__)
constexpr std::array kNets{kSanitizer};
#elif defined(M40LLM_CHECKED)
constexpr std::array kNets{std::string_view("checker")};
#else
constexpr std::array kNets{kGates, std::string_view("order"), std::string_view("language"),
                           std::string_view("ring"), std::string_view("rows")};
#endif

/// The cases to run, small shapes first. What the checker and the sanitizers see does not depend on the class
/// of inputs, and they are slower: they take the first class of the small shapes.
std::vector<bench::Case> cases_of(const bench::Suite& suite) {
  const bool for_gates = kNets.front() == kGates;
  std::vector<bench::Case> cases;
  for (const bench::Sweep sweep : {bench::Sweep::smoke, bench::Sweep::edge, bench::Sweep::model}) {
    if (sweep == bench::Sweep::model && !for_gates) break;
    for (const bench::Shape& shape : suite.shapes(sweep)) {
      for (const bench::VariantInfo& variant : suite.variants()) {
        if (!suite.applies(variant.name, shape)) continue;
        for (const std::string& inputs : suite.inputs_at(shape)) {
          cases.push_back({suite.op(), variant.name, shape, inputs});
          if (!for_gates) break;
        }
      }
    }
  }
  return cases;
}

/// The first case that fails its gate or that the device reports on; of other builds only what these watch for.
/// Empty if none is.
std::string first_failure(const bench::Suite& suite) {
  const std::unique_ptr<Device> device = open_simt_device({});
  for (const bench::Case& c : cases_of(suite)) {
    const std::unique_ptr<Stream> stream = device->create_stream();
    try {
      const std::unique_ptr<bench::Trial> trial = suite.trial(*device, c);
      trial->reset(*stream);
      trial->launch(*stream);
      if (!trial->judge(*stream).passed && kNets.front() == kGates) return c.line();
    } catch (const DeviceFault& fault) {
      if (kNets.front() != kSanitizer) return c.line() + " (" + fault.what() + ")";
    } catch (const bench::Unavailable&) {  // no sparse memory in the checked build
    }
  }
  return {};
}

/// The first check of the language that fails.
std::string first_wrong_function() {
  const std::unique_ptr<Device> device = open_simt_device({});
  for (const Check& check : checks()) {
    try {
      const std::string wrong = check.run(*device);
      if (!wrong.empty()) return wrong;
    } catch (const DeviceFault& fault) {
      return std::string(check.name) + " (" + fault.what() + ")";
    }
  }
  return {};
}

/// The kernel that a net judges by itself; empty: it judges ops.
std::string_view kernel_of(std::string_view net) {
  return net == "language" ? "language_exp" : net == "ring" ? "ring_decode" : "";
}

/// What a net catches the mutant by, in one op (null: in its kernel_of()); empty if it passes.
std::string caught_by(std::string_view net, const bench::Suite* suite) {
  if (net == "ring") return first_wrong_ring();
  if (net == "language") return first_wrong_function();
  if (net == "rows") return rows_differ(*open_simt_device({}), suite->op());
  if (net != "order") return first_failure(*suite);
  try {
    return Orders().compare(*suite).difference;
  } catch (const DeviceFault&) {  // no order, but no result either: the gates' business
    return {};
  }
}

/// The same in a process of its own: a faulty kernel may write anywhere, and a sanitizer ends the process. Then
/// the end is what it was caught by, but for the order's net, which compares results.
std::string caught_in_child(std::string_view net, const bench::Suite* suite) {
  int ends[2];
  if (pipe(ends) != 0) throw std::runtime_error("pipe failed");
  const pid_t child = fork();
  if (child == 0) {
    const std::string by = caught_by(net, suite);
    _exit(write(ends[1], by.data(), by.size()) == static_cast<ssize_t>(by.size()) ? 0 : 1);
  }
  close(ends[1]);
  std::string by;
  char part[4096];
  for (ssize_t got = 0; (got = read(ends[0], part, sizeof part)) > 0;)
    by.append(part, static_cast<std::size_t>(got));
  close(ends[0]);
  int status = 0;
  if (child < 0 || waitpid(child, &status, 0) != child) throw std::runtime_error("fork failed");
  if (status == 0 || net == "order") return by;
  return "its process ended with " + (WIFSIGNALED(status)
                                          ? "signal " + std::to_string(WTERMSIG(status))
                                          : "exit code " + std::to_string(WEXITSTATUS(status)));
}

/// Appends what a net said of a mutant to the file that M40LLM_PLANTED names. op: empty for the language.
void write_down(const Mutant& mutant, std::string_view net, std::string_view op, const std::string& by) {
  const char* const path = std::getenv("M40LLM_PLANTED");
  if (path == nullptr) return;
  const nlohmann::json line{
      {"mutant", mutant.name}, {"owes", mutant.net}, {"net", net}, {"op", op}, {"caught_by", by}};
  const std::string text = line.dump() + "\n";
  const int file = open(path, O_WRONLY | O_APPEND | O_CREAT, 0644);
  EXPECT_EQ(write(file, text.data(), text.size()), static_cast<ssize_t>(text.size())) << path;
  close(file);
}

class Mutation : public ::testing::TestWithParam<Mutant> {};

TEST_P(Mutation, IsCaught) {
  const Mutant& mutant = GetParam();
  const Substituted substituted(mutant);
  const bool try_all = std::getenv("M40LLM_PLANTED") != nullptr;
  const bench::Pattern ops(mutant.ops, "ops");
  int n_ops = 0;
  for (const std::string_view net : kNets) {
    if (net != mutant.net && !try_all) continue;
    const auto judge = [&](std::string_view op, const std::string& by) {
      write_down(mutant, net, op, by);
      if (net == mutant.net) {
        EXPECT_NE(by, "") << mutant.name << " passes the net '" << net << "' " << op;
      }
      if (!by.empty()) std::cout << net << ": caught by " << by << "\n";
    };
    if (const std::string_view kernel = kernel_of(net); !kernel.empty()) {
      const auto is_kernel = [&](const MutantKernel& k) { return k.name == kernel; };
      if (std::ranges::any_of(mutant.kernels, is_kernel)) judge("", caught_in_child(net, nullptr));
      continue;
    }
    for (const auto& suite : bench::suites()) {
      if (!ops.matches(suite->op())) continue;
      ++n_ops;
      judge(suite->op(), caught_in_child(net, suite.get()));
    }
  }
  if (kernel_of(mutant.net).empty() || (mutant.net == "language" && try_all)) {
    EXPECT_GT(n_ops, 0) << "no op is called " << mutant.ops;
  }
}

/// Those that a net of this build owes, or all.
std::vector<Mutant> mutants_to_try() {
  std::vector<Mutant> tried;
  for (Mutant& mutant : mutants()) {
    if (std::getenv("M40LLM_PLANTED") != nullptr || std::ranges::count(kNets, mutant.net) > 0)
      tried.push_back(std::move(mutant));
  }
  return tried;
}
INSTANTIATE_TEST_SUITE_P(All, Mutation, ::testing::ValuesIn(mutants_to_try()),
                         [](const auto& info) { return info.param.name; });

}  // namespace
}  // namespace m40llm::testing
