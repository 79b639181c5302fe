#include <limits>

#include "bench/op_suite.hpp"
#include "bench/suites/registry.hpp"
#include "engine/ops/ops.hpp"
#include "reference/ops.hpp"

namespace m40llm::bench {
namespace {

/// Judged to the bit.
class Argmax final : public OpSuite<ArgmaxParams> {
 public:
  Argmax()
      : OpSuite(kArgmax, "f32", {{"n"}},
                {.smoke = {{40}},
                 .model = {{49152}, {32000}},
                 .edge = {{1}, {2}, {31}, {32}, {33}, {255}, {257}, {1021}, {1024}, {1025}, {4099}},
                 .bench = {{49152}, {128256}}}) {}

  /// "ties": few different values; "first", "last": where the largest stands; "zeros": of both signs, which
  /// are equal; "nan": half of them NaN; "infinite": NaN and minus infinity alone; "all_nan".
  std::vector<std::string> inputs() const override {
    return {"random", "ties", "negative", "first", "last", "zeros", "nan", "infinite", "all_nan"};
  }

 protected:
  ArgmaxParams without_pointers(const Shape& shape) const override {
    ArgmaxParams params{};
    params.n = at(shape, "n");
    return params;
  }

  std::vector<TensorMemory> tensors(const Shape& shape) const override {
    const std::uint64_t n = size_at(shape, "n");
    return {input_memory<float>("x", n), output_memory<int>("index", 1), reference_memory(n)};
  }
  std::vector<IntProduct> int_products(const Shape&) const override { return {}; }

  void fill(ArgmaxParams& params, const Case& c, int, Holder& holder) const override {
    constexpr float nan = std::numeric_limits<float>::quiet_NaN();
    constexpr float infinity = std::numeric_limits<float>::infinity();
    Random random(c.seed, 1);
    std::vector<float> x = generate(static_cast<std::size_t>(params.n), [&]() -> float {
      if (c.inputs == "ties") return static_cast<float>(random.below(3));
      if (c.inputs == "negative") return -1 - random.uniform();
      if (c.inputs == "zeros") return static_cast<float>(random.sign()) * 0.0f;
      if (c.inputs == "nan") return random.below(2) == 0 ? nan : random.normal();
      if (c.inputs == "infinite") return random.below(4) == 0 ? -infinity : nan;
      return c.inputs == "all_nan" ? nan : random.normal();
    });
    if (c.inputs == "first") x.front() = 10;
    if (c.inputs == "last") x.back() = 10;
    const reference::Vector<float> values = Eigen::Map<const reference::Vector<float>>(x.data(), params.n);
    params.index = holder.output<int>({{static_cast<double>(reference::argmax<float>(values))}, {}});
    params.x = holder.input(x);
  }
};

}  // namespace

void add_argmax(Suites& suites) { suites.push_back(std::make_unique<Argmax>()); }

}  // namespace m40llm::bench
