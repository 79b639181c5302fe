#include "engine/ops/residual_add.hpp"
#include "bench/op_suite.hpp"

namespace m40llm::bench {
namespace {

/// Judged to the bit: one addition, and a sum of two floats rounded to double and then to float is rounded
/// rightly (Figueroa, 1995).
class ResidualAdd final : public OpSuite<ResidualAddParams> {
 public:
  ResidualAdd()
      : OpSuite(kResidualAdd, "f32", {{"n", 1, 1, kLargestCount}},
                {.smoke = {{40}},
                 .model = {{576}, {2048}},
                 .edge = {{1}, {2}, {3}, {31}, {33}, {127}, {257}, {1021}, {4099}},
                 .bench = {{1 << 12}, {1 << 24}},
                 .limits = {
                     {{3 * 65536 + 1}, {"random"}}, {{(1 << 20) + 5}, {kFar}}, {{(1 << 30) + 5}, {kFar}}}}) {}

  /// class       what it is                                       a fault that it is there for
  /// random      normal                                           a sum in half, a wrong sign
  /// decades     all magnitudes down to the denormal ones         denormals flushed, sums by bit tricks
  /// cancel      sums that are small or zero of either sign       a zero of the wrong sign
  /// special     infinities, NaN, zeros of both signs, sums that overflow   skipping y = 0 or x = 0, clamping
  /// far         beyond a hole (op_suite.hpp)                     n cut to 20 bits, bytes counted in 32 bits
  std::vector<std::string> inputs() const override {
    return {"random", "decades", "cancel", "special", kFar};
  }

 protected:
  ResidualAddParams without_pointers(const Shape& shape) const override {
    ResidualAddParams params{};
    params.n = at(shape, "n");
    return params;
  }

  std::vector<TensorMemory> tensors(const Shape& shape) const override {
    const std::uint64_t n = size_at(shape, "n");
    return {input_memory<float>("y", n), output_memory<float>("x", n), reference_memory(n)};
  }
  std::vector<IntProduct> int_products(const Shape&) const override { return {}; }

  void fill(ResidualAddParams& params, const Case& c, int, Holder& holder) const override {
    const std::size_t left_out = hole(c, static_cast<std::size_t>(params.n), kKept);
    const auto n = static_cast<std::size_t>(params.n) - left_out;
    Random random(c.seed, 1);
    const auto value = [&]() -> float {
      if (c.inputs == "special") return special_float(random);
      return c.inputs == "decades" ? random.over_binades(-149, 127) : random.normal();
    };
    const std::vector<float> x = generate(n, value);
    std::vector<float> y = generate(n, value);
    if (c.inputs == "cancel") {
      for (std::size_t i = 0; i < n; ++i) y[i] = -x[i] * (1 + static_cast<float>(random.below(3)) * 0x1p-23f);
    }
    Expected<float> expected;
    for (std::size_t i = 0; i < n; ++i) expected.want.push_back(static_cast<double>(x[i]) + y[i]);
    params.y = holder.input(y, left_out);
    params.x = holder.in_place(x, std::move(expected), left_out);
    if (left_out > 0) holder.judge_last(n);
  }
};

const RegisterSuites kRegister([](SuiteList& suites) { suites.push_back(std::make_unique<ResidualAdd>()); });

}  // namespace

}  // namespace m40llm::bench
