#include <bit>
#include <limits>

#include "bench/op_suite.hpp"
#include "engine/ops/cast.hpp"
#include "reference/half.hpp"

namespace m40llm::bench {
namespace {

/// Judged to the bit.
class Cast final : public OpSuite<CastParams> {
 public:
  Cast()
      : OpSuite(kCastF32F16, "f16", {{"n", 1, 1, kLargestCount}},
                {.smoke = {{40}},
                 .model = {{192}, {576}, {2048}},
                 .edge = {{1}, {31}, {33}, {127}, {257}, {1021}, {65536}, {3 * 65536}},
                 .bench = {{1 << 20}, {1 << 24}},
                 .limits = {
                     {{3 * 65536 + 1}, {"random"}}, {{(1 << 20) + 5}, {kFar}}, {{(1 << 30) + 5}, {kFar}}}}) {}

  /// class     what it is                                              a fault that it is there for
  /// halves    every binary16 in turn, which must come back            denormals flushed, a NaN's payload kept
  /// halfway   around the middle between each and its neighbour        truncation, ties away from even, 65520 as 65504
  /// random    all that a half can hold and beyond                     saturation instead of infinity
  /// bits      floats of any bits, NaN and infinities among them       conversions by bit tricks
  /// far       as random, beyond a hole (op_suite.hpp)                 n cut to 20 bits, bytes counted in 32 bits
  std::vector<std::string> inputs() const override { return {"halves", "halfway", "random", "bits", kFar}; }

 protected:
  CastParams without_pointers(const Shape& shape) const override {
    CastParams params{};
    params.n = at(shape, "n");
    return params;
  }

  std::vector<TensorMemory> tensors(const Shape& shape) const override {
    const std::uint64_t n = size_at(shape, "n");
    return {input_memory<float>("x", n), output_memory<half>("y", n)};
  }
  std::vector<IntProduct> int_products(const Shape&) const override { return {}; }

  void fill(CastParams& params, const Case& c, int, Holder& holder) const override {
    Random random(c.seed, 1);
    unsigned i = 0;
    const std::size_t left_out = hole(c, static_cast<std::size_t>(params.n), kKept);
    const std::size_t n = static_cast<std::size_t>(params.n) - left_out;
    const std::vector<float> x = generate(n, [&]() -> float {
      const unsigned index = i++;
      if (c.inputs == "halves")
        return static_cast<float>(reference::half_to_double(static_cast<std::uint16_t>(index)));
      if (c.inputs == "halfway") return near_middle(index);
      if (c.inputs == "random" || c.inputs == kFar) return random.over_binades(-30, 18);
      return std::bit_cast<float>(static_cast<std::uint32_t>(random.bits() >> 32));
    });
    Expected<half> expected;
    for (const float value : x) expected.want.push_back(value);
    params.x = holder.input(x, left_out);
    params.y = holder.output(std::move(expected), left_out);
    if (left_out > 0) holder.judge_last(n);
  }

 private:
  /// Three floats for each half but infinities and NaN: the middle to the next half away from zero, and the
  /// floats beside it. Seen from 65504 the next one would be 65536, and from its middle on all is infinite.
  static float near_middle(unsigned index) {
    const unsigned magnitude = index / 6 % 0x7c00;
    const double low = reference::half_to_double(static_cast<std::uint16_t>(magnitude));
    const double high =
        magnitude == 0x7bff ? 65536 : reference::half_to_double(static_cast<std::uint16_t>(magnitude + 1));
    const auto middle = static_cast<float>((low + high) / 2);
    const float beside[] = {std::nextafter(middle, 0.0f), middle,
                            std::nextafter(middle, std::numeric_limits<float>::infinity())};
    return index / 3 % 2 == 0 ? beside[index % 3] : -beside[index % 3];
  }
};

const RegisterSuites kRegister([](SuiteList& suites) { suites.push_back(std::make_unique<Cast>()); });

}  // namespace

}  // namespace m40llm::bench
