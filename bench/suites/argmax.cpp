#include <algorithm>
#include <cmath>
#include <limits>

#include "bench/op_suite.hpp"
#include "engine/ops/argmax.hpp"
#include "reference/ops.hpp"

namespace m40llm::bench {
namespace {

constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
constexpr float kInfinity = std::numeric_limits<float>::infinity();

/// What is not finite, and where it stands alone among n values.
struct Planted {
  const char* name;
  float value;
};
constexpr Planted kPlanted[] = {
    {"nan", kNan}, {"minus_nan", -kNan}, {"inf", kInfinity}, {"minus_inf", -kInfinity}};
struct Place {
  const char* name;
  std::size_t (*of)(std::size_t n);
};
constexpr Place kPlaces[] = {{"first", [](std::size_t) { return std::size_t{0}; }},
                             {"warp_end", [](std::size_t) { return std::size_t{31}; }},
                             {"next_warp", [](std::size_t) { return std::size_t{32}; }},
                             {"middle", [](std::size_t n) { return n / 2; }},
                             {"last", [](std::size_t n) { return n - 1; }}};

std::string name_of(const Planted& planted, const Place& place) {
  return std::string(planted.name) + "_" + place.name;
}

/// Judged to the bit.
class Argmax final : public OpSuite<ArgmaxParams> {
 public:
  Argmax()
      : OpSuite(kArgmax, "f32", {{"n"}},
                {.smoke = {{40}, {5000}},
                 .model = {{49152}, {32000}},
                 .edge = {{1}, {2}, {31}, {32}, {33}, {255}, {257}, {1021}, {1024}, {1025}, {4099}},
                 .bench = {{49152}, {128256}}}) {}

  /// Finite: "ties": few different values; "first", "last": where the largest stands; "zeros": of both signs,
  /// which are equal; "extreme": the largest and the smallest numbers of both signs, which are finite still;
  /// "lowest": all of them far below any start that one would think of; "denormal": all of them, which are not 0.
  /// Not finite: "nan": half of them NaN; "infinite": NaN and minus infinity alone; "mixed": one in four of one
  /// kind or another; "all_nan", "all_minus_inf"; and one value alone, of four kinds, where a lane's, a
  /// warp's or the whole reach ends.
  std::vector<std::string> inputs() const override {
    std::vector<std::string> classes{"random",  "ties",          "negative", "first",   "last",
                                     "zeros",   "nan",           "infinite", "all_nan", "mixed",
                                     "extreme", "all_minus_inf", "lowest",   "denormal"};
    for (const Planted& planted : kPlanted) {
      for (const Place& place : kPlaces) classes.push_back(name_of(planted, place));
    }
    return classes;
  }

 protected:
  ArgmaxParams without_pointers(const Shape& shape) const override {
    ArgmaxParams params{};
    params.n_rows = 1;
    params.n = at(shape, "n");
    return params;
  }

  std::vector<TensorMemory> tensors(const Shape& shape) const override {
    const std::uint64_t n = size_at(shape, "n");
    return {input_memory<float>("x", n), output_memory<int>("index", 1), reference_memory(n)};
  }
  std::vector<IntProduct> int_products(const Shape&) const override { return {}; }

  void fill(ArgmaxParams& params, const Case& c, int, Holder& holder) const override {
    Random random(c.seed, 1);
    std::vector<float> x = generate(static_cast<std::size_t>(params.n), [&]() -> float {
      if (c.inputs == "ties") return static_cast<float>(random.below(3));
      if (c.inputs == "negative") return -1 - random.uniform();
      if (c.inputs == "lowest") return -std::fabs(random.over_binades(120, 128));
      if (c.inputs == "denormal") return random.over_binades(-149, -126);
      if (c.inputs == "zeros") return static_cast<float>(random.sign()) * 0.0f;
      if (c.inputs == "nan") return random.below(2) == 0 ? kNan : random.normal();
      if (c.inputs == "infinite") return random.below(4) == 0 ? -kInfinity : kNan;
      if (c.inputs == "mixed")
        return random.below(4) == 0 ? kPlanted[random.below(4)].value : random.normal();
      if (c.inputs == "extreme") {
        const float magnitude = random.below(2) == 0 ? std::numeric_limits<float>::max()
                                                     : std::numeric_limits<float>::denorm_min();
        return static_cast<float>(random.sign()) * magnitude;
      }
      if (c.inputs == "all_minus_inf") return -kInfinity;
      return c.inputs == "all_nan" ? kNan : random.normal();
    });
    if (c.inputs == "first") x.front() = 10;
    if (c.inputs == "last") x.back() = 10;
    for (const Planted& planted : kPlanted) {
      for (const Place& place : kPlaces) {
        if (c.inputs == name_of(planted, place))
          x[std::min(place.of(x.size()), x.size() - 1)] = planted.value;
      }
    }
    const reference::Vector<float> values = Eigen::Map<const reference::Vector<float>>(x.data(), params.n);
    params.index = holder.output<int>({{static_cast<double>(reference::argmax<float>(values))}, {}});
    params.x = holder.input(x);
  }
};

const RegisterSuites kRegister([](SuiteList& suites) { suites.push_back(std::make_unique<Argmax>()); });

}  // namespace

}  // namespace m40llm::bench
