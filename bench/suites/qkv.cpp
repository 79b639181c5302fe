#include "engine/ops/qkv.hpp"

#include <algorithm>

#include "bench/op_suite.hpp"
#include "bench/separate_ops.hpp"
#include "bench/weights.hpp"
#include "engine/ops/bias.hpp"
#include "engine/ops/kv_append.hpp"
#include "engine/ops/rope.hpp"
#include "reference/half.hpp"

namespace m40llm::bench {
namespace {

/// Judged to the bit against rms_norm, gemv, bias, rope and kv_append; the rest of the cache must stay untouched.
class Qkv final : public OpSuite<QkvParams> {
 public:
  Qkv(const FormatTraits& format, Activations activations)
      : OpSuite(
            qkv_op(format.format, activations), format.name,
            {{"n_heads", 1, 1, 1024},
             {"n_kv_heads", 1, 1, 1024},
             {"head_dim", 2, 2, 1024},
             {"n_rotated", 2, 2, 1024},
             {"width", 1, format.block, widest_normed(activations)},
             {"neox", 0, 1, 1},
             {"position", 0, 1, 1 << 20}},
            {.smoke = {{2, 1, 16, 12, 64, 0, 3}},
             // SmolLM2, Qwen2.5-0.5B, TinyLlama.
             .model = {{9, 3, 64, 64, 576, 0, 100}, {14, 2, 64, 64, 896, 1, 77}, {32, 4, 64, 64, 2048, 0, 1}},
             .edge = {{1, 1, 2, 2, 32, 0, 0},
                      {3, 1, 10, 4, 96, 1, 5},
                      {4, 4, 128, 128, 64, 1, 2},
                      {5, 5, 80, 20, 992, 0, 9},
                      {2, 1, 256, 64, 32, 1, 1},
                      {2, 2, 4, 2, std::min(8192, widest_normed(format, activations)), 0, 2},
                      {2, 1, 8, 4, 7, 0, 1},
                      {1, 1, 4, 4, 1021, 1, 3},
                      {1, 1, 2, 2, widest_normed(format, activations), 0, 1}},
             .bench = {{9, 3, 64, 64, 576, 0, 100}, {32, 8, 128, 128, 4096, 0, 100}}}),
        format_(format.format),
        activations_(activations) {}

  /// class     what it is                                    a fault that it is there for
  /// R         random, centred, with biases                  another pair, table row, head, bias or place in the cache
  /// no-bias   likewise, without them                        a bias that is always read
  /// no-q      K and V alone                                 units counted from Q on
  /// no-kv     Q alone                                       likewise
  /// N-x       x infinite where weights are of all signs     skipping of what is 0
  bool judged_by_separate_ops() const override { return true; }
  std::vector<std::string> inputs() const override { return {"R", "no-bias", "no-q", "no-kv", "N-x"}; }

 protected:
  QkvParams without_pointers(const Shape& shape) const override {
    QkvParams params{};
    params.head_dim = at(shape, "head_dim");
    params.n_rotated = at(shape, "n_rotated");
    params.width = at(shape, "width");
    params.stride = (params.width + 31) / 32 * 32;
    params.neox = at(shape, "neox");
    params.eps = 1e-5f;
    params.q = {nullptr,      nullptr,       at(shape, "n_heads") * params.head_dim,
                params.width, params.stride, format_};
    params.k = params.q;
    params.k.rows = at(shape, "n_kv_heads") * params.head_dim;
    params.v = params.k;
    params.cache.head_stride = params.head_dim;
    params.cache.position_stride = params.k.rows;
    params.cache.sequence_stride = static_cast<long long>(params.k.rows) * (at(shape, "position") + 2);
    return params;
  }
  void check_together(const Shape& shape) const override {
    if (at(shape, "n_rotated") > at(shape, "head_dim"))
      throw UsageError("op '" + op() + "': n_rotated of at most head_dim is expected in '" +
                       to_string(shape) + "'");
  }
  std::vector<TensorMemory> tensors(const Shape& shape) const override {
    const std::uint64_t head_dim = size_at(shape, "head_dim");
    const std::uint64_t q = size_at(shape, "n_heads") * head_dim;
    const std::uint64_t kv = size_at(shape, "n_kv_heads") * head_dim;
    const std::uint64_t width = size_at(shape, "width");
    const std::uint64_t cache = 2 * kv * (size_at(shape, "position") + 2);
    const gguf::TensorType type = gguf::tensor_type(format_);
    return {input_memory("q", type, q, width),
            input_memory("k", type, kv, width),
            input_memory("v", type, kv, width),
            input_memory<float>("x, weight, biases", 2 * width + q + 2 * kv),
            input_memory<float2>("table", (size_at(shape, "position") + 1) * size_at(shape, "n_rotated") / 2),
            input_memory<int>("sequence, position", 2),
            output_memory<float>("y", q),
            output_memory<half>("k_cache", kv, cache),
            output_memory<half>("v_cache", kv, cache),
            reference_memory(width + 31 + q + 2 * kv + 2 * cache)};
  }
  std::vector<IntProduct> int_products(const Shape& shape) const override {
    const std::uint64_t head_dim = size_at(shape, "head_dim");
    const std::uint64_t heads = size_at(shape, "n_heads") + 2 * size_at(shape, "n_kv_heads");
    return {{"(n_heads + 2 n_kv_heads) x head_dim", heads * head_dim}};
  }

  void fill(QkvParams& params, const Case& c, int, Holder& holder) const override {
    const auto width = static_cast<std::size_t>(params.width);
    const auto table_row = static_cast<std::size_t>(params.n_rotated / 2);
    const int position = at(c.shape, "position");
    const std::string weights = c.inputs == "N-x" ? "N-x" : "R";
    const ProductInputs made = make_product_inputs(weights, format_, 2, width, c.seed);
    Random random(c.seed, 2);
    const auto some = [&](std::size_t n) { return generate(n, [&] { return random.normal(); }); };
    const auto matrix = [&](Matrix& m, std::uint64_t seed) {
      const auto rows = static_cast<std::size_t>(m.rows);
      const ProductInputs of = make_product_inputs(weights, format_, rows, width, seed);
      m = holder.input(pack(gguf::tensor_type(format_), rows, width, of.a.blocks));
    };
    const Matrix none{nullptr, nullptr, 0, params.width, params.stride, format_};
    c.inputs == "no-q" ? void(params.q = none) : matrix(params.q, c.seed);
    c.inputs == "no-kv" ? void(params.k = none) : matrix(params.k, c.seed + 1);
    c.inputs == "no-kv" ? void(params.v = none) : matrix(params.v, c.seed + 2);
    params.x = holder.input(made.x);
    params.weight = holder.input(generate(width, [&] { return 1 + 0.5f * random.normal(); }));
    if (c.inputs != "no-bias") {
      const auto bias = [&](const Matrix& m) {
        return m.rows == 0 ? nullptr : holder.input(some(static_cast<std::size_t>(m.rows)));
      };
      params.q_bias = bias(params.q);
      params.k_bias = bias(params.k);
      params.v_bias = bias(params.v);
    }
    params.table = holder.input(generate((static_cast<std::size_t>(position) + 1) * table_row, [&] {
      return float2{random.normal(), random.normal()};
    }));
    params.sequence = holder.input(std::vector{1});
    params.position = holder.input(std::vector{position});
    expect(params, position, holder);
  }

 private:
  void expect(QkvParams& params, int position, Holder& holder) const {
    SeparateOps separate(holder.device());
    const float* const z = separate.normed(params.x, params.weight, params.width, params.stride, params.eps);
    const auto rotated = [&](const Matrix& m, const float* bias, bool rope) {
      if (m.rows == 0) return static_cast<float*>(nullptr);
      float* const y = separate.product(m, z, activations_);
      if (bias != nullptr) separate.run(kBias, BiasParams{y, bias, 1, m.rows});
      if (rope) {
        separate.run(params.neox != 0 ? kRopeNeox : kRopeNormal,
                     RopeParams{y, params.table, params.position, 1, m.rows / params.head_dim,
                                params.head_dim, params.n_rotated});
      }
      return y;
    };
    const float* const q = rotated(params.q, params.q_bias, true);
    const float* const k = rotated(params.k, params.k_bias, true);
    const float* const v = rotated(params.v, params.v_bias, false);

    const auto n_q = static_cast<std::size_t>(params.q.rows);
    Expected<float> of_q;
    if (q != nullptr) {
      const std::vector<float> got = separate.download(q, n_q);
      of_q.want.assign(got.begin(), got.end());
    }
    params.y = holder.output(std::move(of_q));

    const auto n_kv = static_cast<std::size_t>(params.k.rows);
    const auto row = static_cast<std::size_t>(params.cache.position_stride);
    const std::size_t first =
        static_cast<std::size_t>(params.cache.sequence_stride) + static_cast<std::size_t>(position) * row;
    const std::size_t size = 2 * static_cast<std::size_t>(params.cache.sequence_stride);
    Expected<half> of_k, of_v;
    if (k != nullptr) {
      Buffer<float>& k_cache = separate.buffer((size + 1) / 2);
      Buffer<float>& v_cache = separate.buffer((size + 1) / 2);
      KvView cache = params.cache;
      cache.k = reinterpret_cast<half*>(k_cache.data());
      cache.v = reinterpret_cast<half*>(v_cache.data());
      separate.run(kKvAppend, KvAppendParams{k, v, cache, params.sequence, params.position, 1,
                                             params.k.rows / params.head_dim, params.head_dim});
      const auto want = [&](const half* from) {
        std::vector<double> values;
        for (const half h : separate.download(from + first, n_kv))
          values.push_back(reference::half_to_double(h.bits));
        return values;
      };
      of_k.want = want(cache.k);
      of_v.want = want(cache.v);
    }
    std::vector<std::size_t> places;
    for (std::size_t i = 0; i < n_kv; ++i) places.push_back(first + i);
    params.cache.k = holder.scattered_output<half>(size, places, std::move(of_k));
    params.cache.v = holder.scattered_output<half>(size, places, std::move(of_v));
  }

  Format format_;
  Activations activations_;
};

const RegisterSuites kRegister([](SuiteList& suites) {
  for (const FormatTraits& format : kFormats) {
    suites.push_back(std::make_unique<Qkv>(format, Activations::float32));
    if (has_integers(format.format)) suites.push_back(std::make_unique<Qkv>(format, Activations::int8));
  }
});

}  // namespace

}  // namespace m40llm::bench
