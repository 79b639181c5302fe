#include <bit>

#include "bench/op_suite.hpp"
#include "engine/ops/kv_append.hpp"
#include "reference/half.hpp"

namespace m40llm::bench {
namespace {

/// Judged to the bit; the rest of the cache must stay untouched.
class KvAppend final : public OpSuite<KvAppendParams> {
 public:
  KvAppend()
      : OpSuite(kKvAppend, "f16",
                {{"n_kv_heads"}, {"head_dim"}, {"position", 0}, {"n_positions"}, {"head_major", 0}},
                {.smoke = {{2, 16, 1, 3, 0}},
                 .model = {{3, 64, 0, 256, 0}, {3, 64, 255, 256, 1}, {4, 64, 1000, 2048, 0}},
                 .edge = {{1, 1, 0, 1, 0},
                          {1, 31, 2, 3, 0},
                          {7, 33, 5, 7, 1},
                          {8, 128, 30, 31, 0},
                          {3, 80, 127, 128, 1},
                          {5, 96, 64, 97, 0}},
                 .bench = {{8, 128, 4000, 4096, 0}},
                 .limits = {{{1, 8, 8200, 8201, 0}, {"random"}},
                            {{2, 8, 65600, 65601, 1}, {"random"}},
                            {{3, 64, 131071, 131072, 0}, {kFar}},
                            {{3, 64, (1 << 20) + 5, (1 << 20) + 9, 1}, {kFar}},
                            {{8, 128, (1 << 22) + 1, (1 << 22) + 6, 0}, {kFar}},
                            {{8, 128, (1 << 22) + 1, (1 << 22) + 6, 1}, {kFar}}}}) {}

  /// class     what it is                                      a fault that it is there for
  /// random    normal                                          keys as values, a position or stride off, truncation
  /// decades   all that a half can hold and beyond             denormals flushed, saturation
  /// special   infinities, NaN of any payload, 65504 to        a NaN's payload kept, infinity as 65504, 65520 rounded
  ///           65536, ties, zeros of both signs, denormals     down, ties away from even
  /// far       caches with holes between what is stored        the position cut to 16 or 20 bits, position * stride
  ///           (op_suite.hpp)                                  and head * stride in 32 bits
  std::vector<std::string> inputs() const override { return {"random", "decades", "special", kFar}; }

 protected:
  KvAppendParams without_pointers(const Shape& shape) const override {
    KvAppendParams params{};
    params.n_rows = 1;
    params.n_kv_heads = at(shape, "n_kv_heads");
    params.head_dim = at(shape, "head_dim");
    const bool head_major = at(shape, "head_major") != 0;
    params.cache.position_stride = head_major ? params.head_dim : params.n_kv_heads * params.head_dim;
    params.cache.head_stride = head_major ? at(shape, "n_positions") * params.head_dim : params.head_dim;
    params.cache.n_positions = at(shape, "n_positions");
    return params;
  }
  void check_together(const Shape& shape) const override {
    if (at(shape, "position") >= at(shape, "n_positions") || at(shape, "head_major") > 1) {
      throw UsageError("op '" + op() +
                       "': position below n_positions and head_major 0 or 1 are expected in '" +
                       to_string(shape) + "'");
    }
  }

  std::vector<TensorMemory> tensors(const Shape& shape) const override {
    const std::uint64_t n = size_at(shape, "n_kv_heads") * size_at(shape, "head_dim");
    const std::uint64_t cache = n * size_at(shape, "n_positions");
    return {input_memory<float>("k", n),
            input_memory<float>("v", n),
            input_memory<int>("sequence", 1),
            input_memory<int>("position", 1),
            output_memory<half>("k_cache", n, cache),
            output_memory<half>("v_cache", n, cache)};
  }
  std::vector<IntProduct> int_products(const Shape& shape) const override {
    const std::uint64_t head_dim = size_at(shape, "head_dim");
    return {{"n_kv_heads x head_dim", size_at(shape, "n_kv_heads") * head_dim},
            {"head_major x n_positions x head_dim",
             size_at(shape, "head_major") * size_at(shape, "n_positions") * head_dim}};
  }

  void fill(KvAppendParams& params, const Case& c, int, Holder& holder) const override {
    const int position = at(c.shape, "position");
    const auto n = static_cast<std::size_t>(params.n_kv_heads) * static_cast<std::size_t>(params.head_dim);
    Random random(c.seed, 1);
    const auto value = [&] {
      if (c.inputs == "special") return special(random);
      return c.inputs == "decades" ? random.over_binades(-30, 18) : random.normal();
    };
    const std::vector<float> k = generate(n, value);
    const std::vector<float> v = generate(n, value);
    std::vector<std::size_t> places;
    for (int head = 0; head < params.n_kv_heads; ++head) {
      for (int i = 0; i < params.head_dim; ++i) {
        places.push_back(static_cast<std::size_t>(position) *
                             static_cast<std::size_t>(params.cache.position_stride) +
                         static_cast<std::size_t>(head) * static_cast<std::size_t>(params.cache.head_stride) +
                         static_cast<std::size_t>(i));
      }
    }
    const std::size_t cache_size = n * static_cast<std::size_t>(at(c.shape, "n_positions"));
    params.k = holder.input(k);
    params.v = holder.input(v);
    params.sequence = holder.input(std::vector<int>{0});
    params.position = holder.input(std::vector<int>{position});
    if (c.inputs == kFar) {
      params.cache.k = heads_in_holes(k, places, params, cache_size, holder);
      params.cache.v = heads_in_holes(v, places, params, cache_size, holder);
      return;
    }
    params.cache.k = holder.scattered_output<half>(cache_size, places, {{k.begin(), k.end()}, {}});
    params.cache.v = holder.scattered_output<half>(cache_size, places, {{v.begin(), v.end()}, {}});
  }

 private:
  static float special(Random& random) {
    switch (random.below(4)) {
      case 0: {  // about where halves end, and the middle to what would come next
        static constexpr float kEnd[] = {65504, 65519.996f, 65520,    65536,
                                         1e30f, 0x1p-24f,   0x1p-25f, 0x1.8p-24f};
        return static_cast<float>(random.sign()) * kEnd[random.below(8)];
      }
      case 1: {  // the middle between a half and the next: a tie
        const auto bits = static_cast<std::uint16_t>(random.below(0x7bff));
        const double next = reference::half_to_double(static_cast<std::uint16_t>(bits + 1));
        return static_cast<float>(random.sign() * (reference::half_to_double(bits) + next) / 2);
      }
      case 2:  // NaN of any payload
        return std::bit_cast<float>(static_cast<std::uint32_t>(random.bits() >> 32) | 0x7fc00000u);
      default:
        return special_float(random);
    }
  }

  /// A cache of which only the places of one position are there, each head's a window of its own.
  static half* heads_in_holes(const std::vector<float>& x, const std::vector<std::size_t>& places,
                              const KvAppendParams& params, std::size_t cache_size, Holder& holder) {
    const bool together = params.cache.head_stride == params.head_dim;
    const std::size_t window = together ? x.size() : static_cast<std::size_t>(params.head_dim);
    std::vector<Piece<half>> pieces;
    std::vector<Expected<half>> expected;
    for (std::size_t i = 0; i < x.size(); i += window) {
      pieces.push_back({places[i], std::vector<half>(window, poison<half>())});
      expected.push_back(
          {{x.begin() + static_cast<std::ptrdiff_t>(i), x.begin() + static_cast<std::ptrdiff_t>(i + window)},
           {}});
    }
    return holder.sparse_outputs<half>(cache_size, std::move(pieces), std::move(expected));
  }
};

const RegisterSuites kRegister([](SuiteList& suites) { suites.push_back(std::make_unique<KvAppend>()); });

}  // namespace

}  // namespace m40llm::bench
