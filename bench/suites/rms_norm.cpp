#include "bench/op_suite.hpp"
#include "bench/suites/registry.hpp"
#include "engine/ops/ops.hpp"
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
                 .bench = {{1, 576}, {1, 2048}, {512, 4096}, {4096, 8192}}}) {}

  /// "eps": rows whose mean square is about eps; "huge": close to where squares overflow; "zero": rows of
  /// zeros.
  std::vector<std::string> inputs() const override { return {"random", "decades", "eps", "huge", "zero"}; }

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
    Random random(c.seed, 1);
    const std::vector<float> x = generate(static_cast<std::size_t>(params.n_rows) * width, [&]() -> float {
      if (c.inputs == "decades") return random.over_binades(-40, 40);
      if (c.inputs == "eps") return 3.2e-3f * random.normal();  // mean square 1.02e-5
      // Its square times the width must stay finite: |x| < 1.8e19 / sqrt(width) for every width up to 16384.
      if (c.inputs == "huge") return 4e16f * random.normal();
      return c.inputs == "zero" ? 0.0f : random.normal();
    });
    const std::vector<float> weight = generate(width, [&] { return 1 + 0.5f * random.normal(); });

    Expected<float> expected;
    for (std::size_t row = 0; row < static_cast<std::size_t>(params.n_rows); ++row) {
      using Floats = reference::Vector<float>;
      const reference::Vector<double> y = reference::rms_norm<double>(
          Eigen::Map<const Floats>(x.data() + row * width, params.width).cast<double>(),
          Eigen::Map<const Floats>(weight.data(), params.width).cast<double>(), params.eps);
      for (const double value : y) {
        expected.want.push_back(value);
        expected.bound.push_back(rms_norm_bound(value, chain));
      }
    }
    params.x = holder.input(x);
    params.weight = holder.input(weight);
    params.y = holder.output(std::move(expected));
  }
};

}  // namespace

void add_rms_norm(Suites& suites) { suites.push_back(std::make_unique<RmsNorm>()); }

}  // namespace m40llm::bench
