#include <bit>

#include "bench/op_suite.hpp"
#include "bench/suites/registry.hpp"
#include "engine/model/rope_table.hpp"
#include "engine/ops/ops.hpp"
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
                 .bench = {{32, 128, 128, 2000}}}),
        pairs_(pairs) {}

  std::vector<std::string> inputs() const override { return {"random", "decades"}; }

 protected:
  RopeParams without_pointers(const Shape& shape) const override {
    RopeParams params{};
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
    const std::vector<float> x =
        generate(n, [&] { return c.inputs == "decades" ? random.over_binades(-60, 60) : random.normal(); });

    reference::Matrix<double> y =
        Eigen::Map<const reference::Matrix<float>>(x.data(), params.n_heads, params.head_dim).cast<double>();
    reference::Matrix<double> bound =
        reference::Matrix<double>::Zero(y.rows(), y.cols());  // 0: what is not rotated stays
    for (int i = 0; i < params.n_rotated / 2; ++i) {
      const auto [first, second] = reference::rope_pair(pairs_, i, params.n_rotated);
      for (Eigen::Index head = 0; head < y.rows(); ++head) {
        bound(head, first) = bound(head, second) = rope_bound(y(head, first), y(head, second));
      }
    }
    reference::rope<double>(pairs_, y, position, params.n_rotated, kBase);
    const Expected<float> expected{{y.data(), y.data() + y.size()},
                                   {bound.data(), bound.data() + bound.size()}};

    // Only this position's row is filled; reading any other gives NaN.
    const RopeTable angles(params.n_rotated, kBase);
    const auto n_pairs = static_cast<std::size_t>(angles.n_pairs());
    std::vector<float2> table((static_cast<std::size_t>(position) + 1) * n_pairs,
                              {poison<float>(), poison<float>()});
    const std::vector<float2> row = angles.row(position);
    std::copy(row.begin(), row.end(), table.end() - static_cast<std::ptrdiff_t>(n_pairs));

    params.table = holder.input(table);
    params.position = holder.input(std::vector<int>{position});
    params.x = holder.in_place(x, expected);
  }

 private:
  reference::RopePairs pairs_;
};

}  // namespace

void add_rope(Suites& suites) {
  suites.push_back(std::make_unique<Rope>(kRopeNormal, reference::RopePairs::normal));
  suites.push_back(std::make_unique<Rope>(kRopeNeox, reference::RopePairs::neox));
}

}  // namespace m40llm::bench
