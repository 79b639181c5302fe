// The chains of roundings that variants declare, which the gates' bounds rest on, against what the kernels
// themselves do: every kernel is compiled once more for a number that counts (counted.hpp) and run at the
// suites' shapes. Too short a chain rejects honest results somewhere, too long a one lets faults through.
#include <gtest/gtest.h>

#include <algorithm>
#include <bit>
#include <functional>
#include <map>

#include "bench/suite.hpp"
#include "engine/device/simt/simt_device.hpp"
#include "tests/chains/counted.hpp"
#include "tests/chains/counted_kernels.hpp"

namespace m40llm::testing {
namespace {

class CountingKernels {
 public:
  CountingKernels() {
    for (const CountedKernel& kernel : kernels_) substitute_kernel(kernel.name, kernel.function);
  }
  ~CountingKernels() {
    for (const CountedKernel& kernel : kernels_) substitute_kernel(kernel.name, nullptr);
  }

 private:
  std::vector<CountedKernel> kernels_ = counted_kernels();
};

using Declared = std::function<int(const std::string& variant, const bench::Shape&)>;

class Chain : public ::testing::TestWithParam<const bench::Suite*> {
 protected:
  void SetUp() override {
    const CountingKernels counting;
    for (const bench::Sweep sweep : {bench::Sweep::smoke, bench::Sweep::edge, bench::Sweep::model}) {
      for (const bench::Shape& shape : suite_.shapes(sweep)) {
        for (const bench::VariantInfo& variant : suite_.variants()) {
          if (suite_.applies(variant.name, shape))
            counted_.push_back({variant.name, shape, count(variant.name, shape)});
        }
      }
    }
  }
  /// The variants whose declaration is not what was counted, each with the first such shape.
  std::map<std::string, std::string> wrong(const Declared& declared) const {
    std::map<std::string, std::string> found;
    for (const Counted& c : counted_) {
      const int d = declared(c.variant, c.shape);
      if (d != c.roundings) {
        found.emplace(c.variant, bench::to_string(c.shape) + ": declared " + std::to_string(d) +
                                     ", counted " + std::to_string(c.roundings));
      }
    }
    return found;
  }

  bool rounds_at_all(const std::string& variant) const {
    return std::ranges::any_of(counted_,
                               [&](const Counted& c) { return c.variant == variant && c.roundings > 0; });
  }

  const bench::Suite& suite_ = *GetParam();

 private:
  struct Counted {
    std::string variant;
    bench::Shape shape;
    int roundings;
  };
  /// The roundings on the way to the first output, which no gate accepts: a count is no result.
  int count(const std::string& variant, const bench::Shape& shape) const {
    // Shapes that are made with a hole alone are too large without.
    const std::string first = suite_.inputs_at(shape).front();
    const std::string inputs = first == "far" ? first : suite_.inputs().front();
    const auto trial = suite_.trial(*device_, {suite_.op(), variant, shape, inputs});
    trial->reset(*stream_);
    trial->launch(*stream_);
    const double got = trial->judge(*stream_).got;
    const double of_half = got / counted::kHalfUnit;
    if (of_half > 0 && of_half <= counted::kLargestHalfCount) return static_cast<int>(of_half);
    // What was put together from bits has no rounding behind it.
    return std::max(0, counted::Counted::count_of(std::bit_cast<unsigned>(static_cast<float>(got))));
  }

  std::unique_ptr<Device> device_ = open_simt_device({});
  std::unique_ptr<Stream> stream_ = device_->create_stream();
  std::vector<Counted> counted_;
};

TEST_P(Chain, IsAsLongAsDeclared) {
  const Declared declared = [this](const auto& variant, const auto& shape) {
    return suite_.chain(variant, shape);
  };
  for (const auto& [variant, why] : wrong(declared))
    ADD_FAILURE() << suite_.op() << "/" << variant << " " << why;
}

TEST_P(Chain, PlantedDeclarationsAreWrong) {
  const auto planted = [this](auto change) {
    return wrong([this, change](const auto& variant, const auto& shape) {
      return change(suite_.chain(variant, shape));
    });
  };
  for (const bench::VariantInfo& variant : suite_.variants()) {
    const bool rounds = rounds_at_all(variant.name);  // if not, it declares 0 rightly
    EXPECT_EQ(planted([](int) { return 0; }).contains(variant.name), rounds) << variant.name;
    EXPECT_EQ(planted([](int d) { return d / 2; }).contains(variant.name), rounds) << variant.name;
    EXPECT_EQ(planted([](int d) { return 4 * d; }).contains(variant.name), rounds) << variant.name;
    EXPECT_TRUE(planted([](int d) { return d + 1; }).contains(variant.name)) << variant.name;
  }
}

std::vector<const bench::Suite*> suites_with_bounds() {
  std::vector<const bench::Suite*> with_bounds;
  for (const auto& suite : bench::suites()) {
    if (!suite->judged_by_separate_ops()) with_bounds.push_back(suite.get());
  }
  return with_bounds;
}
INSTANTIATE_TEST_SUITE_P(Ops, Chain, ::testing::ValuesIn(suites_with_bounds()),
                         [](const auto& info) { return info.param->op(); });

}  // namespace
}  // namespace m40llm::testing
