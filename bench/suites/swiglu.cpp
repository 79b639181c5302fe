#include <array>
#include <cmath>
#include <limits>

#include "bench/op_suite.hpp"
#include "engine/ops/swiglu.hpp"
#include "reference/ops.hpp"

namespace m40llm::bench {
namespace {

class Swiglu final : public OpSuite<SwigluParams> {
 public:
  Swiglu()
      : OpSuite(kSwiglu, "f32", {{"n", 1, 1, kLargestCount}},
                {.smoke = {{40}},
                 .model = {{1536}, {5632}},
                 .edge = {{1}, {2}, {3}, {31}, {33}, {127}, {257}, {1021}, {4099}, {65536}},
                 .bench = {{1 << 14}, {1 << 24}},
                 .limits = {
                     {{3 * 65536 + 1}, {"random"}}, {{(1 << 20) + 5}, {kFar}}, {{(1 << 30) + 5}, {kFar}}}}) {}

  /// class        what it is                                          a fault that it is there for
  /// random       normal                                              another activation, a sigmoid in half
  /// range        gates of all sizes in [-128, 128]                   the tail lost with 1 + exp(-gate)
  /// saturating   gates where exp or the quotient over- or            an exp that overflows to NaN
  ///              underflows, zeros of both signs, denormals
  /// large        up near the largest float, gates below -1.3:        (gate * up) first, which overflows
  ///              the output is finite
  /// denormal     up denormal, gates so large that the output is      denormals flushed
  ///              normal
  /// special      gate or up infinite or NaN                          clamped gates, skipping of up = 0
  /// far          beyond a hole (op_suite.hpp)                        n cut to 20 bits, bytes counted in 32 bits
  std::vector<std::string> inputs() const override {
    return {"random", "range", "saturating", "large", "special", "denormal", kFar};
  }

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
    const std::size_t left_out = hole(c, static_cast<std::size_t>(params.n), kKept);
    const std::size_t n = static_cast<std::size_t>(params.n) - left_out;
    Random random(c.seed, 1);
    std::size_t i = 0;
    const std::vector<float> gate = generate(n, [&]() -> float {
      if (c.inputs == "saturating") return kSpecial[i++ % kSpecial.size()];
      if (c.inputs == "range") return 256 * (random.uniform() - 0.5f);
      if (c.inputs == "denormal") return std::fabs(random.over_binades(60, 127));
      if (c.inputs == "large") return -1.3f - 20 * random.uniform();
      return c.inputs == "special" ? special_float(random) : random.normal();
    });
    const std::vector<float> up = generate(n, [&]() -> float {
      if (c.inputs == "large") return random.over_binades(126, 128);
      if (c.inputs == "denormal") return random.over_binades(-149, -126);
      if (c.inputs == "special") return special_float(random);
      return c.inputs == "random" || c.inputs == kFar ? random.normal() : 0.25f * random.normal();
    });

    const reference::Vector<double> y = reference::swiglu<double>(
        Eigen::Map<const reference::Vector<float>>(gate.data(), static_cast<Eigen::Index>(n)).cast<double>(),
        Eigen::Map<const reference::Vector<float>>(up.data(), static_cast<Eigen::Index>(n)).cast<double>());
    Expected<float> expected;
    for (std::size_t j = 0; j < n; ++j) {
      const double value = y(static_cast<Eigen::Index>(j));
      const double bound = swiglu_bound(value, up[j]);
      expected.want.push_back(c.inputs == "special" ? as_float(value) : value);
      expected.bound.push_back(c.inputs == "special" ? bound_if_finite(expected.want[j], bound) : bound);
    }
    params.gate = holder.input(gate, left_out);
    params.up = holder.input(up, left_out);
    params.y = holder.output(std::move(expected), left_out);
    if (left_out > 0) holder.judge_last(n);
  }
};

const RegisterSuites kRegister([](SuiteList& suites) { suites.push_back(std::make_unique<Swiglu>()); });

}  // namespace

}  // namespace m40llm::bench
