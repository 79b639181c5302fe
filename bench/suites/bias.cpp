#include "engine/ops/bias.hpp"
#include "bench/op_suite.hpp"
#include "reference/ops.hpp"

namespace m40llm::bench {
namespace {

/// Judged to the bit, as residual_add is.
class Bias final : public OpSuite<BiasParams> {
 public:
  Bias()
      : OpSuite(
            kBias, "f32", {{"n_rows", 1, 1, 65535}, {"n"}},
            {.smoke = {{2, 40}},
             // Qwen2.5-0.5B's K and V, and its Q; Qwen2.5-7B's Q.
             .model = {{1, 128}, {1, 896}, {5, 3584}},
             .edge = {{1, 1}, {3, 2}, {2, 31}, {7, 33}, {1, 257}, {2, 1021}, {33, 4099}},
             .bench = {{1, 3584}, {512, 3584}},
             .limits = {
                 {{65535, 3}, {"random"}}, {{2, 3 * 65536 + 1}, {"random"}}, {{65535, 32769}, {kFar}}}}) {}

  /// class     what it is                                              a fault that it is there for
  /// random    normal                                                  another row's bias, a wrong sign
  /// decades   all magnitudes down to the denormal ones                denormals flushed
  /// cancel    sums that are small or zero of either sign              a zero of the wrong sign
  /// special   infinities, NaN, zeros of both signs, overflowing sums  skipping b = 0 or y = 0, clamping
  /// far       the last rows, beyond a hole (op_suite.hpp)             row * n in 32 bits
  std::vector<std::string> inputs() const override {
    return {"random", "decades", "cancel", "special", kFar};
  }

 protected:
  BiasParams without_pointers(const Shape& shape) const override {
    BiasParams params{};
    params.n_rows = at(shape, "n_rows");
    params.n = at(shape, "n");
    return params;
  }
  std::vector<TensorMemory> tensors(const Shape& shape) const override {
    const std::uint64_t n = size_at(shape, "n");
    const std::uint64_t all = size_at(shape, "n_rows") * n;
    return {input_memory<float>("b", n), output_memory<float>("y", all), reference_memory(2 * n)};
  }
  std::vector<IntProduct> int_products(const Shape&) const override { return {}; }

  void fill(BiasParams& params, const Case& c, int, Holder& holder) const override {
    Random random(c.seed, 1);
    const auto value = [&]() -> float {
      if (c.inputs == "special") return special_float(random);
      return c.inputs == "decades" ? random.over_binades(-149, 127) : random.normal();
    };
    const auto n = static_cast<std::size_t>(params.n);
    const std::vector<float> b = generate(n, value);
    const std::size_t rows_left_out = hole(c, static_cast<std::size_t>(params.n_rows), 2);
    const std::size_t rows = static_cast<std::size_t>(params.n_rows) - rows_left_out;
    std::vector<float> y = generate(n * rows, value);
    if (c.inputs == "cancel") {
      for (std::size_t i = 0; i < y.size(); ++i)
        y[i] = -b[i % n] * (1 + static_cast<float>(random.below(3)) * 0x1p-23f);
    }
    const auto vector = [n](const float* values) -> reference::Vector<double> {
      return Eigen::Map<const reference::Vector<float>>(values, static_cast<Eigen::Index>(n)).cast<double>();
    };
    Expected<float> expected;
    for (std::size_t row = 0; row < y.size(); row += n) {
      const reference::Vector<double> sums =
          reference::bias<double>(vector(y.data() + row), vector(b.data()));
      expected.want.insert(expected.want.end(), sums.begin(), sums.end());
    }
    params.b = holder.input(b);
    params.y = holder.in_place(y, std::move(expected), rows_left_out * n);
    if (rows_left_out > 0) holder.judge_last(rows * ((n + 255) / 256));  // blocks of a row
  }
};

const RegisterSuites kRegister([](SuiteList& suites) { suites.push_back(std::make_unique<Bias>()); });

}  // namespace

}  // namespace m40llm::bench
