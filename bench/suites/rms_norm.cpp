#include "engine/ops/rms_norm.hpp"
#include "bench/op_suite.hpp"
#include "reference/ops.hpp"

namespace m40llm::bench {
namespace {

class RmsNorm final : public OpSuite<RmsNormParams> {
 public:
  RmsNorm()
      : OpSuite(kRmsNorm, "f32", {{"n_rows"}, {"width"}},
                {.smoke = {{2, 48}},
                 .model = {{1, 576}, {1, 2048}, {5, 576}},
                 .edge = {{1, 1},
                          {3, 2},
                          {3, 3},
                          {2, 31},
                          {2, 33},
                          {7, 127},
                          {1, 257},
                          {2, 1021},
                          {1, 4099},
                          {31, 64},
                          {1, 12288}},
                 .bench = {{1, 576}, {1, 2048}, {512, 4096}, {4096, 8192}},
                 .limits = {{{1, 65604}, {"random"}},
                            {{65601, 12}, {kFar}},
                            {{(1 << 20) + 5, 64}, {kFar}},
                            {{(1 << 21) + 3, 2052}, {kFar}}}}) {}

  /// class     what it is                                    a fault that it is there for
  /// random    normal, weights of both signs                 a wrong mean, a dropped element, a weight's magnitude
  /// decades   80 binades in a row                           a sum in half or of the largest alone
  /// eps       rows whose mean square is about eps           eps left out or outside the root
  /// huge      close to where squares overflow               squares scaled up first
  /// zero      rows of zeros                                 a division by 0 without eps
  /// special   one element infinite or NaN in two of three   a maximum that hides NaN, clamped squares, a row that
  ///           rows                                          spoils its neighbours
  /// denormal  denormal x, with an eps so small that y is    denormals flushed, (x * weight) first, an eps of the
  ///           normal                                        kernel's own
  /// far       beyond a hole (op_suite.hpp)                  rows cut to 16 or 20 bits, row * width in 32 bits
  std::vector<std::string> inputs() const override {
    return {"random", "decades", "eps", "huge", "zero", "special", "denormal", kFar};
  }

 protected:
  RmsNormParams without_pointers(const Shape& shape) const override {
    RmsNormParams params{};
    params.n_rows = at(shape, "n_rows");
    params.width = at(shape, "width");
    params.eps = 1e-5f;
    return params;
  }

  std::vector<TensorMemory> tensors(const Shape& shape) const override {
    const std::uint64_t width = size_at(shape, "width");
    const std::uint64_t n = size_at(shape, "n_rows") * width;
    return {input_memory<float>("x", n), input_memory<float>("weight", width), output_memory<float>("y", n),
            reference_memory(3 * width)};
  }
  std::vector<IntProduct> int_products(const Shape&) const override { return {}; }

  void fill(RmsNormParams& params, const Case& c, int chain, Holder& holder) const override {
    const auto width = static_cast<std::size_t>(params.width);
    const std::size_t rows_left_out = hole(c, static_cast<std::size_t>(params.n_rows), 3);
    const std::size_t n_rows = static_cast<std::size_t>(params.n_rows) - rows_left_out;
    if (c.inputs == "denormal") params.eps = 1e-30f;
    Random random(c.seed, 1);
    std::vector<float> x = generate(n_rows * width, [&]() -> float {
      if (c.inputs == "decades") return random.over_binades(-40, 40);
      if (c.inputs == "denormal") return random.over_binades(-149, -126);
      if (c.inputs == "eps") return 3.2e-3f * random.normal();  // mean square 1.02e-5
      // Its square times the width must stay finite: |x| < 1.8e19 / sqrt(width) for every width up to 16384.
      if (c.inputs == "huge") return 4e16f * random.normal();
      return c.inputs == "zero" ? 0.0f : random.normal();
    });
    const std::vector<float> weight = generate(width, [&] { return 1 + 0.5f * random.normal(); });
    if (c.inputs == "special") {
      for (std::size_t row = 0; row < n_rows; ++row) {
        float& one = x[row * width + static_cast<std::size_t>(random.below(params.width))];
        if (row % 3 == 0) one = static_cast<float>(random.sign()) * std::numeric_limits<float>::infinity();
        if (row % 3 == 1) one = std::numeric_limits<float>::quiet_NaN();
      }
    }

    Expected<float> expected;
    for (std::size_t row = 0; row < n_rows; ++row) {
      using Floats = reference::Vector<float>;
      const reference::Vector<double> y = reference::rms_norm<double>(
          Eigen::Map<const Floats>(x.data() + row * width, params.width).cast<double>(),
          Eigen::Map<const Floats>(weight.data(), params.width).cast<double>(), params.eps);
      for (const double value : y) {
        expected.want.push_back(value);
        const double bound = rms_norm_bound(value, chain);
        expected.bound.push_back(c.inputs == "special" ? bound_if_finite(value, bound) : bound);
      }
    }
    params.x = holder.input(x, rows_left_out * width);
    params.weight = holder.input(weight);
    params.y = holder.output(std::move(expected), rows_left_out * width);
    if (rows_left_out > 0) holder.judge_last(n_rows);
  }
};

const RegisterSuites kRegister([](SuiteList& suites) { suites.push_back(std::make_unique<RmsNorm>()); });

}  // namespace

}  // namespace m40llm::bench
