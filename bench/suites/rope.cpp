#include <bit>

#include "bench/op_suite.hpp"
#include "engine/model/rope_table.hpp"
#include "engine/ops/rope.hpp"
#include "reference/ops.hpp"

namespace m40llm::bench {
namespace {

constexpr double kBase = 10000;

class Rope final : public OpSuite<RopeParams> {
 public:
  Rope(const Op<RopeParams>& op, reference::RopePairs pairs)
      : OpSuite(op, "f32", {{"n_heads"}, {"head_dim", 2}, {"n_rotated", 2, 2}, {"position", 0}},
                {.smoke = {{2, 16, 16, 3}},
                 .model = {{9, 64, 64, 0}, {9, 64, 64, 100}, {3, 64, 64, 2047}, {32, 64, 64, 1000}},
                 .edge = {{1, 2, 2, 1},
                          {1, 64, 64, 131071},
                          {2, 80, 80, 4095},
                          {5, 96, 96, 31},
                          {8, 128, 128, 65536},
                          {3, 128, 32, 77},
                          {7, 80, 20, 12345},
                          {31, 66, 62, 131070}},
                 .bench = {{32, 128, 128, 2000}},
                 .limits = {{{65601, 2, 2, 131071}, {"random"}},
                            {{1, 64, 64, 4194303}, {kFar}},
                            {{1, 4096, 4096, (1 << 20) + 1}, {kFar}}}}),
        pairs_(pairs) {}

  /// class     what it is                                     a fault that it is there for
  /// random    normal                                         pairs of the other kind, a sense or a position off
  /// decades   120 binades                                    a sum in which the small one of a pair is lost
  /// large     up to 2^126                                    products of two elements on the way
  /// special   infinities, NaN, zeros, among what is not      skipping of what is 0, writes to what is not rotated
  ///           rotated too
  /// denormal  denormal                                       denormals flushed
  /// far       a table with a hole before its last row        the position cut to 16 or 20 bits, position * pairs in
  ///           (op_suite.hpp)                                 32 bits
  std::vector<std::string> inputs() const override {
    return {"random", "decades", "large", "special", "denormal", kFar};
  }

 protected:
  RopeParams without_pointers(const Shape& shape) const override {
    RopeParams params{};
    params.n_rows = 1;
    params.n_heads = at(shape, "n_heads");
    params.head_dim = at(shape, "head_dim");
    params.n_rotated = at(shape, "n_rotated");
    return params;
  }
  void check_together(const Shape& shape) const override {
    if (at(shape, "n_rotated") > at(shape, "head_dim")) {
      throw UsageError("op '" + op() + "': more than head_dim rotated in '" + to_string(shape) + "'");
    }
  }

  std::vector<TensorMemory> tensors(const Shape& shape) const override {
    const std::uint64_t n = size_at(shape, "n_heads") * size_at(shape, "head_dim");
    const std::uint64_t pairs = size_at(shape, "n_rotated") / 2;
    return {input_memory<float2>("table", (size_at(shape, "position") + 1) * pairs),
            input_memory<int>("position", 1), output_memory<float>("x", n), reference_memory(2 * n)};
  }
  std::vector<IntProduct> int_products(const Shape& shape) const override {
    return {{"n_heads x head_dim", size_at(shape, "n_heads") * size_at(shape, "head_dim")}};
  }

  void fill(RopeParams& params, const Case& c, int, Holder& holder) const override {
    const int position = at(c.shape, "position");
    const auto n = static_cast<std::size_t>(params.n_heads) * static_cast<std::size_t>(params.head_dim);
    Random random(c.seed, 1);
    const std::vector<float> x = generate(n, [&]() -> float {
      if (c.inputs == "large") return random.over_binades(100, 126);
      if (c.inputs == "special") return special_float(random) * 0.25f;
      if (c.inputs == "denormal") return random.over_binades(-149, -126);
      return c.inputs == "decades" ? random.over_binades(-60, 60) : random.normal();
    });

    reference::Matrix<double> y =
        Eigen::Map<const reference::Matrix<float>>(x.data(), params.n_heads, params.head_dim).cast<double>();
    reference::Matrix<double> bound =
        reference::Matrix<double>::Zero(y.rows(), y.cols());  // 0: what is not rotated stays
    // The two products' and the sum's roundings, where these are absolute.
    const double underflow = c.inputs == "denormal" ? 3 * 0x1p-150 : 0;
    for (int i = 0; i < params.n_rotated / 2; ++i) {
      const auto [first, second] = reference::rope_pair(pairs_, i, params.n_rotated);
      for (Eigen::Index head = 0; head < y.rows(); ++head) {
        bound(head, first) = bound(head, second) = rope_bound(y(head, first), y(head, second)) + underflow;
      }
    }
    reference::rope<double>(pairs_, y, position, params.n_rotated, kBase);
    Expected<float> expected{{y.data(), y.data() + y.size()}, {bound.data(), bound.data() + bound.size()}};
    if (c.inputs == "special") {
      for (std::size_t i = 0; i < n; ++i)
        expected.bound[i] = bound_if_finite(expected.want[i], expected.bound[i]);
    }

    // Only this position's row is filled; reading any other gives NaN.
    const RopeTable angles(params.n_rotated, kBase);
    const auto n_pairs = static_cast<std::size_t>(angles.n_pairs());
    const std::size_t before = static_cast<std::size_t>(position) * n_pairs;
    const std::size_t left_out = c.inputs == kFar ? before : 0;
    std::vector<float2> table(before - left_out + n_pairs, {poison<float>(), poison<float>()});
    const std::vector<float2> row = angles.row(position);
    std::copy(row.begin(), row.end(), table.end() - static_cast<std::ptrdiff_t>(n_pairs));

    params.table = holder.input(table, left_out);
    params.position = holder.input(std::vector<int>{position});
    params.x = holder.in_place(x, expected);
  }

 private:
  reference::RopePairs pairs_;
};

const RegisterSuites kRegister([](SuiteList& suites) {
  suites.push_back(std::make_unique<Rope>(kRopeNormal, reference::RopePairs::normal));
  suites.push_back(std::make_unique<Rope>(kRopeNeox, reference::RopePairs::neox));
});

}  // namespace

}  // namespace m40llm::bench
