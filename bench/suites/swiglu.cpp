#include <array>
#include <limits>

#include "bench/op_suite.hpp"
#include "bench/suites/registry.hpp"
#include "engine/ops/ops.hpp"
#include "reference/ops.hpp"

namespace m40llm::bench {
namespace {

class Swiglu final : public OpSuite<SwigluParams> {
 public:
  Swiglu()
      : OpSuite(kSwiglu, "f32", {{"n"}},
                {.smoke = {{40}},
                 .model = {{1536}, {5632}},
                 .edge = {{1}, {2}, {3}, {31}, {33}, {127}, {257}, {1021}, {4099}, {65536}},
                 .bench = {{1 << 14}, {1 << 24}}}) {}

  /// "saturating": gates where exp or the quotient over- or underflows, zeros of both signs and denormals;
  /// "range": gates of all sizes in [-128, 128].
  std::vector<std::string> inputs() const override { return {"random", "range", "saturating"}; }

 protected:
  SwigluParams without_pointers(const Shape& shape) const override {
    SwigluParams params{};
    params.n = at(shape, "n");
    return params;
  }

  std::vector<TensorMemory> tensors(const Shape& shape) const override {
    const std::uint64_t n = size_at(shape, "n");
    return {input_memory<float>("gate", n), input_memory<float>("up", n), output_memory<float>("y", n),
            reference_memory(3 * n)};
  }
  std::vector<IntProduct> int_products(const Shape&) const override { return {}; }

  void fill(SwigluParams& params, const Case& c, int, Holder& holder) const override {
    static constexpr std::array kSpecial{100.0f, -100.0f, 0.0f,    -0.0f,  88.0f,   -88.0f, 89.0f,
                                         -89.0f, 104.0f,  -104.0f, 1e-40f, -1e-40f, 1e-45f, -1e-45f,
                                         1e4f,   -1e4f,   3e38f,   -3e38f, -87.3f,  -87.4f, -103.9f};
    const auto n = static_cast<std::size_t>(params.n);
    Random random(c.seed, 1);
    std::size_t i = 0;
    const std::vector<float> gate = generate(n, [&]() -> float {
      if (c.inputs == "saturating") return kSpecial[i++ % kSpecial.size()];
      if (c.inputs == "range") return 256 * (random.uniform() - 0.5f);
      return random.normal();
    });
    const std::vector<float> up =
        generate(n, [&] { return c.inputs == "random" ? random.normal() : 0.25f * random.normal(); });

    const reference::Vector<double> y = reference::swiglu<double>(
        Eigen::Map<const reference::Vector<float>>(gate.data(), params.n).cast<double>(),
        Eigen::Map<const reference::Vector<float>>(up.data(), params.n).cast<double>());
    Expected<float> expected;
    for (std::size_t j = 0; j < n; ++j) {
      expected.want.push_back(y(static_cast<Eigen::Index>(j)));
      expected.bound.push_back(swiglu_bound(expected.want[j], up[j]));
    }
    params.gate = holder.input(gate);
    params.up = holder.input(up);
    params.y = holder.output(std::move(expected));
  }
};

}  // namespace

void add_swiglu(Suites& suites) { suites.push_back(std::make_unique<Swiglu>()); }

}  // namespace m40llm::bench
