#include "bench/op_suite.hpp"
#include "bench/suites/registry.hpp"
#include "engine/ops/ops.hpp"

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
                 .bench = {{8, 128, 4000, 4096, 0}}}) {}

  std::vector<std::string> inputs() const override { return {"random", "decades"}; }

 protected:
  KvAppendParams without_pointers(const Shape& shape) const override {
    KvAppendParams params{};
    params.n_kv_heads = at(shape, "n_kv_heads");
    params.head_dim = at(shape, "head_dim");
    const bool head_major = at(shape, "head_major") != 0;
    params.position_stride = head_major ? params.head_dim : params.n_kv_heads * params.head_dim;
    params.head_stride = head_major ? at(shape, "n_positions") * params.head_dim : params.head_dim;
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
    return {input_memory<float>("k", n), input_memory<float>("v", n), input_memory<int>("position", 1),
            output_memory<half>("k_cache", n, cache), output_memory<half>("v_cache", n, cache)};
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
    const auto value = [&] { return c.inputs == "decades" ? random.over_binades(-30, 18) : random.normal(); };
    const std::vector<float> k = generate(n, value);
    const std::vector<float> v = generate(n, value);
    std::vector<std::size_t> places;
    for (int head = 0; head < params.n_kv_heads; ++head) {
      for (int i = 0; i < params.head_dim; ++i) {
        places.push_back(static_cast<std::size_t>(position) *
                             static_cast<std::size_t>(params.position_stride) +
                         static_cast<std::size_t>(head) * static_cast<std::size_t>(params.head_stride) +
                         static_cast<std::size_t>(i));
      }
    }
    const std::size_t cache_size = n * static_cast<std::size_t>(at(c.shape, "n_positions"));
    params.k = holder.input(k);
    params.v = holder.input(v);
    params.position = holder.input(std::vector<int>{position});
    params.k_cache = holder.scattered_output<half>(cache_size, places, {{k.begin(), k.end()}, {}});
    params.v_cache = holder.scattered_output<half>(cache_size, places, {{v.begin(), v.end()}, {}});
  }
};

}  // namespace

void add_kv_append(Suites& suites) { suites.push_back(std::make_unique<KvAppend>()); }

}  // namespace m40llm::bench
