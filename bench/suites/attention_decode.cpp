#include <cmath>
#include <limits>
#include <set>

#include "bench/op_suite.hpp"
#include "engine/ops/attention_decode.hpp"
#include "reference/half.hpp"

namespace m40llm::bench {
namespace {

/// One attention problem: K and V as stored, (context, n_kv_heads, head_dim).
struct Problem {
  std::vector<float> q;  // (n_heads, head_dim)
  std::vector<half> k, v;
};

half to_half(double value) { return {reference::double_to_half(value)}; }

/// Positions with the largest score in class b: the first and last of the context and the edges of tiles and
/// splits first, then any; their number is a power of two, so that the mean of integers over them is exact.
std::set<int> planted_positions(int context, Random& random) {
  std::size_t n = 1;
  while (n < 16 && 2 * n <= static_cast<std::size_t>(context)) n *= 2;
  std::set<int> positions;
  for (const int edge : {0, context - 1, 31, 32, 127, 128, 255, 256, 63, 64, 511, 512, 1023, 1024}) {
    if (edge < context && positions.size() < n) positions.insert(edge);
  }
  while (positions.size() < n) positions.insert(random.below(context));
  return positions;
}

/// Non-zero integers of at most 7.
half small_integer(Random& random) { return to_half(random.sign() * random.between(1, 7)); }

class AttentionDecode final : public OpSuite<AttentionDecodeParams> {
 public:
  AttentionDecode()
      : OpSuite(kAttentionDecode, "f16",
                {{"n_heads"}, {"n_kv_heads"}, {"head_dim", 8, 8}, {"context"}, {"head_major", 0}},
                all_sizes()) {}

  /// class   what it is                                            a fault that it is there for
  /// a       q = 0, V integers: the mean                           a dropped position
  /// b       planted keys with equal scores, all others 128 or     a position or an edge of a tile off
  ///         more below: exact
  /// c       normal inputs                                         scores, probabilities or sums in half
  /// d       scores of about +200 and -200                         no maximum
  /// e       outliers in q, K and V                                (honest errors alone)
  /// f       scores of about -1000, all of them                    a maximum that starts at 0
  /// g       infinities and NaN in V, where each stays in its      NaN taken for masked, skipping of what is 0
  ///         column
  /// h       a key of the first KV head with a score of +infinity  NaN hidden by the maximum, or carried to other
  ///         or NaN: its heads are NaN                             heads
  /// i       keys and values that are denormal halves, and a scale denormals flushed, a scale made from head_dim
  ///         that is none of head_dim's
  /// j       scores of -infinity in the first half of the context  -infinity less -infinity, a maximum of the first
  ///         for the first KV head                                 chunks alone
  /// far     c for the last KV head alone, beyond a hole           head * stride and position * stride in 32 bits
  ///         (op_suite.hpp); where there is one, all of it, its    and that of a chunk
  ///         positions far apart
  std::vector<std::string> inputs() const override {
    return {"a", "b", "c", "d", "e", "f", "g", "h", "i", "j", kFar};
  }

 protected:
  AttentionDecodeParams without_pointers(const Shape& shape) const override {
    AttentionDecodeParams params{};
    params.n_rows = 1;
    params.n_heads = at(shape, "n_heads");
    params.n_kv_heads = at(shape, "n_kv_heads");
    params.head_dim = at(shape, "head_dim");
    const bool head_major = at(shape, "head_major") != 0;
    params.cache.position_stride = head_major ? params.head_dim : params.n_kv_heads * params.head_dim;
    params.cache.head_stride = head_major ? capacity(shape) * params.head_dim : params.head_dim;
    params.cache.n_positions = capacity(shape);
    params.scale = 1 / std::sqrt(static_cast<float>(params.head_dim));
    return params;
  }
  void check_together(const Shape& shape) const override {
    if (at(shape, "n_heads") % at(shape, "n_kv_heads") != 0 || at(shape, "head_dim") > kAttentionHeadDim ||
        at(shape, "head_major") > 1) {
      throw UsageError("op '" + op() + "': n_heads a multiple of n_kv_heads, head_dim at most " +
                       std::to_string(kAttentionHeadDim) + " and head_major 0 or 1 are expected in '" +
                       to_string(shape) + "'");
    }
  }
  bool tells_more_at(const Shape& shape, std::string_view inputs) const override {
    return at(shape, "context") < 1000 || (inputs != "f" && inputs != "g" && inputs != "h");
  }
  /// The length stands in device memory, not in the parameters: the cache read and the work on it are added
  /// here.
  Work work_of(const AttentionDecodeParams& params, const Shape& shape) const override {
    Work work = kAttentionDecode.work(params);
    const double context = at(shape, "context");
    const Work each = work_a_position(params);
    work.bytes += context * each.bytes;
    work.flops += context * each.flops;
    return work;
  }

  std::vector<TensorMemory> tensors(const Shape& shape) const override {
    const std::uint64_t head_dim = size_at(shape, "head_dim");
    const std::uint64_t q = size_at(shape, "n_heads") * head_dim;
    const std::uint64_t cache = (size_at(shape, "context") + kRoom) * size_at(shape, "n_kv_heads") * head_dim;
    TensorMemory k = input_memory<half>("k_cache", cache);
    TensorMemory v = input_memory<half>("v_cache", cache);
    k.on_host *= 2;  // as made, and with the cache's strides
    v.on_host *= 2;
    // One head's K and V, as they are gathered in growing vectors, and as matrices.
    return {input_memory<float>("q", q),
            k,
            v,
            input_memory<int>("sequence", 1),
            input_memory<int>("position", 1),
            output_memory<float>("y", q),
            reference_memory(6 * size_at(shape, "context") * head_dim)};
  }
  std::vector<IntProduct> int_products(const Shape& shape) const override {
    const std::uint64_t head_dim = size_at(shape, "head_dim");
    return {{"n_heads x head_dim", size_at(shape, "n_heads") * head_dim},
            {"n_kv_heads x head_dim", size_at(shape, "n_kv_heads") * head_dim},
            {"head_major x positions x head_dim",
             size_at(shape, "head_major") * (size_at(shape, "context") + kRoom) * head_dim}};
  }
  int positions(const Shape& shape) const override { return at(shape, "context"); }

  void fill(AttentionDecodeParams& params, const Case& c, int chain, Holder& holder) const override {
    const int context = at(c.shape, "context");
    if (c.inputs == "i") params.scale *= 1.75f;
    params.sequence = holder.input(std::vector<int>{0});
    params.position = holder.input(std::vector<int>{context - 1});
    if (c.inputs == kFar) {
      fill_last_kv_head(params, c, chain, holder);
      return;
    }
    const Problem problem = make(c, params, context);
    Expected<float> expected = expect(c, params, problem, chain);
    params.q = holder.input(problem.q);
    params.cache.k = const_cast<half*>(holder.input(in_cache(problem.k, params, c.shape)));
    params.cache.v = const_cast<half*>(holder.input(in_cache(problem.v, params, c.shape)));
    params.y = holder.output(std::move(expected));
  }

 private:
  static Sizes all_sizes() {
    Sizes sizes;
    sizes.smoke = {{2, 1, 32, 9, 0}};
    sizes.model = {{9, 3, 64, 1, 0}, {9, 3, 64, 100, 0}, {9, 3, 64, 500, 1}, {32, 4, 64, 300, 0}};
    for (const int context : {1, 2, 31, 32, 33, 127, 128, 129, 1000, 4096})
      sizes.edge.push_back({3, 1, 64, context, 0});
    sizes.edge.insert(sizes.edge.end(),
                      {{2, 2, 80, 129, 0},  {8, 2, 80, 257, 1},  {3, 1, 96, 129, 1},  {4, 4, 96, 61, 0},
                       {8, 1, 128, 129, 0}, {6, 2, 128, 300, 1}, {1, 1, 8, 67, 0},    {2, 1, 40, 131, 0},
                       {3, 3, 24, 200, 1},  {7, 1, 64, 63, 0},   {8, 8, 64, 64, 0},   {14, 2, 64, 65, 1},
                       {4, 1, 128, 64, 1},  {8, 2, 128, 191, 0}, {5, 1, 80, 192, 0},  {9, 1, 96, 193, 1},
                       {16, 2, 96, 449, 0}, {1, 1, 256, 65, 0},  {4, 2, 256, 193, 1}, {7, 1, 256, 2049, 0},
                       {6, 2, 32, 131, 1},  {2, 2, 136, 67, 0},  {1, 1, 128, 4096, 1}});
    sizes.limits = {{{1, 1, 8, 8201, 0}, {"a", "b", "c"}},   {{2, 1, 8, 65601, 1}, {"a"}},
                    {{1, 1, 8, 131073, 0}, {"b"}},           {{1 << 22, 1 << 22, 128, 9, 0}, {kFar}},
                    {{1 << 22, 1 << 21, 128, 9, 1}, {kFar}}, {{2, 1, 8, 130, 0}, {kFar}}};
    sizes.bench = {{9, 3, 64, 512, 0}, {32, 4, 64, 2048, 0}, {32, 8, 128, 4096, 0}};
    return sizes;
  }

  void fill_last_kv_head(AttentionDecodeParams& params, const Case& c, int chain, Holder& holder) const {
    AttentionDecodeParams last = params;
    last.n_heads = params.n_heads / params.n_kv_heads;
    last.n_kv_heads = 1;
    std::size_t size = cache_size(c.shape);
    if (params.n_kv_heads == 1) {
      constexpr int kApart = 1 << 25;  // 64 of them are 2^31
      params.cache.position_stride = kApart;
      size = static_cast<std::size_t>(capacity(c.shape)) * kApart;
    }
    const Problem problem = make(c, last, at(c.shape, "context"));
    const auto head_dim = static_cast<std::size_t>(params.head_dim);
    const std::size_t left_out = static_cast<std::size_t>(params.n_heads - last.n_heads) * head_dim;
    const auto cache = [&](const std::vector<half>& x) {
      const std::size_t head = static_cast<std::size_t>(params.n_kv_heads - 1) *
                               static_cast<std::size_t>(params.cache.head_stride);
      std::vector<Piece<half>> rows;
      for (std::size_t i = 0; i < x.size(); i += head_dim) {
        const auto from = x.begin() + static_cast<std::ptrdiff_t>(i);
        rows.push_back({head + i / head_dim * static_cast<std::size_t>(params.cache.position_stride),
                        {from, from + params.head_dim}});
      }
      return holder.sparse_input<half>(size, rows);
    };
    params.q = holder.input(problem.q, left_out);
    params.cache.k = const_cast<half*>(cache(problem.k));
    params.cache.v = const_cast<half*>(cache(problem.v));
    params.y = holder.output(expect(c, last, problem, chain), left_out);
    if (left_out > 0) holder.judge_last(static_cast<std::size_t>(last.n_heads));
  }

  /// Positions the cache has room for: some behind the context, which are filled with NaN.
  static constexpr int kRoom = 3;
  static int capacity(const Shape& shape) { return at(shape, "context") + kRoom; }

  static std::size_t cache_size(const Shape& shape) {
    return static_cast<std::size_t>(capacity(shape)) * static_cast<std::size_t>(at(shape, "n_kv_heads")) *
           static_cast<std::size_t>(at(shape, "head_dim"));
  }

  /// From (context, n_kv_heads, head_dim) to the cache's strides.
  static std::vector<half> in_cache(const std::vector<half>& x, const AttentionDecodeParams& p,
                                    const Shape& shape) {
    const auto heads = static_cast<std::size_t>(p.n_kv_heads);
    const auto head_dim = static_cast<std::size_t>(p.head_dim);
    std::vector<half> cache(cache_size(shape), poison<half>());
    for (std::size_t i = 0; i < x.size(); ++i) {
      const std::size_t position = i / (heads * head_dim);
      const std::size_t head = i / head_dim % heads;
      cache[position * static_cast<std::size_t>(p.cache.position_stride) +
            head * static_cast<std::size_t>(p.cache.head_stride) + i % head_dim] = x[i];
    }
    return cache;
  }

  static Problem make(const Case& c, const AttentionDecodeParams& p, int context) {
    Random random(c.seed, 1);
    const auto head_dim = static_cast<std::size_t>(p.head_dim);
    const std::size_t n =
        static_cast<std::size_t>(context) * static_cast<std::size_t>(p.n_kv_heads) * head_dim;
    Problem problem;
    problem.q = generate(static_cast<std::size_t>(p.n_heads) * head_dim, [&] { return random.normal(); });
    problem.k = generate(n, [&] { return to_half(random.normal()); });
    const bool integers = c.inputs == "a" || c.inputs == "b";
    problem.v = generate(n, [&] { return integers ? small_integer(random) : to_half(random.normal()); });
    if (c.inputs == "a") std::fill(problem.q.begin(), problem.q.end(), 0.0f);
    if (c.inputs == "b") {
      // One key for the planted, its opposite for the others, q along it: scores of +64 and -64 at least.
      const std::set<int> planted = planted_positions(context, random);
      const double size = 64 / (p.scale * static_cast<double>(head_dim));
      for (float& value : problem.q) value = static_cast<float>(size * (1 + 0.25 * random.uniform()));
      for (std::size_t i = 0; i < n; ++i) {
        const auto position = static_cast<int>(i / (n / static_cast<std::size_t>(context)));
        problem.k[i] = to_half(planted.contains(position) ? 1 : -1);
      }
    }
    if (c.inputs == "d" || c.inputs == "f") {
      // q of +-1, K along it or against it: scores of about +-200, or -1000, that differ in their last digits.
      for (std::size_t i = 0; i < problem.q.size(); ++i)
        problem.q[i] = (i % head_dim) % 3 == 0 ? -1.0f : 1.0f;
      const bool far_below = c.inputs == "f";
      const double size = (far_below ? 1000 : 200) / (p.scale * static_cast<double>(head_dim));
      for (std::size_t i = 0; i < n; i += head_dim) {
        const int sign = far_below ? -1 : random.sign();
        for (std::size_t j = 0; j < head_dim; ++j) {
          problem.k[i + j] = to_half(sign * (j % 3 == 0 ? -size : size) * (1 + 0.002 * random.normal()));
        }
      }
    }
    if (c.inputs == "g") {
      // By column: finite, infinite, NaN, and infinities of both signs where there are two positions.
      const std::size_t row = static_cast<std::size_t>(p.n_kv_heads) * head_dim;
      const double infinity = std::numeric_limits<double>::infinity();
      for (std::size_t i = 0; i < row; ++i) {
        const std::size_t first = static_cast<std::size_t>(random.below(context)) * row + i;
        const std::size_t second = static_cast<std::size_t>(random.below(context)) * row + i;
        if (i % 4 == 1) problem.v[first] = to_half(random.sign() * infinity);
        if (i % 4 == 2) problem.v[first] = to_half(std::nan(""));
        if (i % 4 == 3) problem.v[first] = to_half(infinity);
        if (i % 4 == 3) problem.v[second] = to_half(-infinity);
      }
    }
    if (c.inputs == "h") {
      const std::size_t place =
          static_cast<std::size_t>(random.below(context)) * static_cast<std::size_t>(p.n_kv_heads) * head_dim;
      const bool plus = random.below(2) == 0;
      for (std::size_t head = 0; plus && head < static_cast<std::size_t>(p.n_heads / p.n_kv_heads); ++head)
        problem.q[head * head_dim] = std::fabs(problem.q[head * head_dim]) + 1;
      problem.k[place] = to_half(plus ? std::numeric_limits<double>::infinity() : std::nan(""));
    }
    if (c.inputs == "i") {
      // Scores as of normal inputs.
      for (float& value : problem.q) value *= 0x1p16f;
      for (half& value : problem.k) value = to_half(random.over_binades(-24, -15));
      for (half& value : problem.v) value = to_half(random.over_binades(-24, -15));
    }
    if (c.inputs == "j") {
      // Half of the context at most, so that a number stays.
      const std::size_t row = static_cast<std::size_t>(p.n_kv_heads) * head_dim;
      for (std::size_t head = 0; head < static_cast<std::size_t>(p.n_heads / p.n_kv_heads); ++head)
        problem.q[head * head_dim] = std::fabs(problem.q[head * head_dim]) + 1;
      for (std::size_t position = 0; position < static_cast<std::size_t>(context) / 2; ++position)
        problem.k[position * row] = to_half(-std::numeric_limits<double>::infinity());
    }
    if (c.inputs == "e") {
      for (std::size_t i = 0; i < problem.q.size(); i += 17) problem.q[i] *= 30;
      for (std::size_t i = 0; i < n; ++i) {
        if (random.below(50) == 0) problem.k[i] = to_half(10 * reference::half_to_double(problem.k[i].bits));
        if (random.below(50) == 0)
          problem.v[i] = to_half(1000 * reference::half_to_double(problem.v[i].bits));
      }
    }
    return problem;
  }

  static Expected<float> expect(const Case& c, const AttentionDecodeParams& p, const Problem& problem,
                                int chain) {
    const auto head_dim = static_cast<std::size_t>(p.head_dim);
    const auto n_kv_heads = static_cast<std::size_t>(p.n_kv_heads);
    const std::size_t group = static_cast<std::size_t>(p.n_heads) / n_kv_heads;
    Expected<float> expected;
    for (std::size_t head = 0; head < static_cast<std::size_t>(p.n_heads); ++head) {
      std::vector<double> k, v;  // (context, head_dim) of this head's KV head
      for (std::size_t i = head / group * head_dim; i < problem.k.size(); i += n_kv_heads * head_dim) {
        for (std::size_t j = 0; j < head_dim; ++j) {
          k.push_back(reference::half_to_double(problem.k[i + j].bits));
          v.push_back(reference::half_to_double(problem.v[i + j].bits));
        }
      }
      const AttentionExpected of_head =
          attention_expected(std::span(problem.q).subspan(head * head_dim, head_dim), k, v, p.scale, chain);
      if (c.inputs == "b") {
        // To the bit: the mean of integers over a power of two of positions, at most 16, without what the
        // others add.
        for (const double y : of_head.y) expected.want.push_back(std::round(y * 16) / 16 + 0.0);
        continue;
      }
      for (const double y : of_head.y) {  // (a): the mean of integers without the reference's own rounding
        const double context = static_cast<double>(k.size() / head_dim);
        expected.want.push_back(c.inputs == "a" ? std::round(y * context) / context : y);
      }
      for (std::size_t j = 0; j < head_dim; ++j) {
        const double want = expected.want[head * head_dim + j];
        const bool special = c.inputs == "g" || (c.inputs == "h" && head < group);
        expected.bound.push_back(c.inputs == "a" ? ulp(want)
                                 : special       ? bound_if_finite(want, of_head.bound[j])
                                                 : of_head.bound[j]);
      }
    }
    return expected;
  }
};

const RegisterSuites kRegister([](SuiteList& suites) {
  suites.push_back(std::make_unique<AttentionDecode>());
});

}  // namespace

}  // namespace m40llm::bench
