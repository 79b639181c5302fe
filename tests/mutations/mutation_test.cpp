// The gates themselves, tested: every planted fault must fail the gate of every op it touches.
#include <gtest/gtest.h>

#include <regex>

#include "bench/suite.hpp"
#include "engine/device/simt/simt_device.hpp"
#include "tests/mutations/mutant.hpp"

namespace m40llm::testing {
namespace {

class Substituted {
 public:
  explicit Substituted(const Mutant& mutant) : mutant_(mutant) {
    for (const MutantKernel& kernel : mutant.kernels) substitute_kernel(kernel.name, kernel.function);
  }
  ~Substituted() {
    for (const MutantKernel& kernel : mutant_.kernels) substitute_kernel(kernel.name, nullptr);
  }

 private:
  const Mutant& mutant_;
};

/// The first case, small shapes first, that fails its gate; empty if none does.
std::string first_failure(const bench::Suite& suite) {
  const std::unique_ptr<Device> device = open_simt_device({});
  for (const bench::Sweep sweep : {bench::Sweep::smoke, bench::Sweep::edge, bench::Sweep::model}) {
    for (const bench::Shape& shape : suite.shapes(sweep)) {
      for (const bench::VariantInfo& variant : suite.variants()) {
        if (!suite.applies(variant.name, shape)) continue;
        for (const std::string& inputs : suite.inputs_at(shape)) {
          const bench::Case c{suite.op(), variant.name, shape, inputs};
          const std::unique_ptr<Stream> stream = device->create_stream();
          const std::unique_ptr<bench::Trial> trial = suite.trial(*device, c);
          trial->reset(*stream);
          trial->launch(*stream);
          try {
            if (!trial->judge(*stream).passed) return c.line();
          } catch (const DeviceFault& fault) {
            return c.line() + " (" + fault.what() + ")";
          }
        }
      }
    }
  }
  return {};
}

class Mutation : public ::testing::TestWithParam<Mutant> {};

TEST_P(Mutation, FailsItsGate) {
  const Substituted substituted(GetParam());
  const std::regex ops(GetParam().ops);
  int n_ops = 0;
  for (const auto& suite : bench::suites()) {
    if (!std::regex_match(suite->op(), ops)) continue;
    ++n_ops;
    const std::string caught = first_failure(*suite);
    EXPECT_FALSE(caught.empty()) << GetParam().name << " passes every gate of " << suite->op();
    if (!caught.empty()) std::cout << "caught by " << caught << "\n";
  }
  EXPECT_GT(n_ops, 0) << "no op is called " << GetParam().ops;
}

INSTANTIATE_TEST_SUITE_P(All, Mutation, ::testing::ValuesIn(mutants()),
                         [](const auto& info) { return info.param.name; });

}  // namespace
}  // namespace m40llm::testing
