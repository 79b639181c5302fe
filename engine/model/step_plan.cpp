#include "engine/model/step_plan.hpp"

#include <array>
#include <cmath>
#include <map>
#include <stdexcept>

#include "engine/ops/advance.hpp"
#include "engine/ops/argmax.hpp"
#include "engine/ops/attention_decode.hpp"
#include "engine/ops/bias.hpp"
#include "engine/ops/embedding.hpp"
#include "engine/ops/gate_up.hpp"
#include "engine/ops/gemv.hpp"
#include "engine/ops/gemv_add.hpp"
#include "engine/ops/kv_append.hpp"
#include "engine/ops/norm_gemv.hpp"
#include "engine/ops/qkv.hpp"
#include "engine/ops/residual_add.hpp"
#include "engine/ops/rms_norm.hpp"
#include "engine/ops/rope.hpp"
#include "engine/ops/swiglu.hpp"

namespace m40llm {
namespace {

/// Its pointers are the step's.
AttentionDecodeParams attention_params(const Hparams& h, const KvView& cache) {
  AttentionDecodeParams params{};
  params.cache = cache;
  params.n_rows = 1;
  params.n_heads = h.n_heads;
  params.n_kv_heads = h.n_kv_heads;
  params.head_dim = h.head_dim;
  params.scale = static_cast<float>(1.0 / std::sqrt(static_cast<double>(h.head_dim)));
  return params;
}

/// Writes down the ops of a step.
class Planner {
 public:
  Planner(const Device& device, const Hparams& h, const Weights& weights, const KvCache& cache,
          const Workspace& workspace, const float2* rope_table, StepOps ops, Activations activations)
      : device_(device),
        h_(h),
        weights_(weights),
        cache_(cache),
        workspace_(workspace),
        rope_table_(rope_table),
        fused_(ops == StepOps::fused),
        activations_(activations) {}

  StepPlan plan() {
    const DeviceMatrix& embedding = *weights_.find_matrix(Role::embedding);
    const EmbeddingParams row{embedding.view(), workspace_.token(), at(Activation::hidden)};
    add("embedding", embedding_op(embedding.view().format), row, Activation::hidden).format =
        traits(embedding.view().format).gguf_name;
    for (layer_ = 0; layer_ < h_.n_layers; ++layer_) {
      attention();
      feed_forward();
    }
    layer_ = -1;
    // Without an output matrix the embedding's is one.
    const DeviceMatrix* const output = weights_.find_matrix(Role::output);
    logits(output != nullptr ? *output : embedding);
    const int* const chosen = workspace_.chosen().data();
    sequence("next token", kArgmax,
             ArgmaxParams{at(Activation::logits), workspace_.chosen().data(), 1, h_.n_vocab});
    sequence("advance", kAdvance,
             AdvanceParams{workspace_.token(), workspace_.position(), chosen, workspace_.prompt(),
                           workspace_.prompt_length(), 1, cache_.n_positions()});
    return std::move(plan_);
  }

 private:
  float* at(Activation a) const { return workspace_[a].data(); }

  template <class Params>
  PlannedOp& enter(std::string label, const Op<Params>& op, const Params& params, Writes writes) {
    const Variant<Params>& variant = op.default_variant(params);
    if (variant.scratch_bytes(params, device_.n_sms()) > workspace_.scratch().bytes() ||
        variant.state_bytes(params, device_.n_sms()) > workspace_.state().bytes()) {
      throw std::logic_error(std::string(op.name) + "/" + variant.name +
                             ": step_memory() does not count what it works in");
    }
    PlannedOp& planned = plan_.emplace_back();
    planned.layer = layer_;
    planned.label = std::move(label);
    planned.op = op.name;
    planned.variant = variant.name;
    planned.work = op.work(params);
    if (op.rounds != nullptr) planned.rounds = op.rounds(params);
    planned.launches =
        variant.launches(params, device_.n_sms(), {workspace_.scratch().data(), workspace_.state().data()});
    const Launch& launch = planned.launches.front();
    const bool of_integers = std::string_view(variant.name) == kInt8Variant;  // no resident kernel has them
    if (!launch.library_call && !of_integers)
      planned.resident = resident_form(variant.name, launch.params_as<Params>());
    planned.writes = writes;
    return planned;
  }
  template <class Params>
  PlannedOp& add(std::string label, const Op<Params>& op, const Params& params, Activation written) {
    PlannedOp& planned = enter(std::move(label), op, params, Writes::activation);
    planned.values = {workspace_[written].data(), workspace_[written].size()};
    return planned;
  }
  template <class Params>
  void sequence(const char* label, const Op<Params>& op, const Params& params) {
    enter(label, op, params, Writes::sequence);
  }

  const float* vector(Role role) const {
    const Buffer<float>* const found = weights_.find_vector(role, layer_);
    return found == nullptr ? nullptr : found->data();
  }

  void logits(const DeviceMatrix& weights) {
    const NormGemvParams fused{weights.view(), at(Activation::hidden), vector(Role::output_norm),
                               at(Activation::logits), h_.eps};
    const Op<NormGemvParams>& op = norm_gemv_op(weights.view().format, activations_);
    if (fused_ && op.find_default_variant(fused) != nullptr) {
      add("logits", op, fused, Activation::logits).format = traits(weights.view().format).gguf_name;
      return;
    }
    norm("output norm", Role::output_norm);
    product("logits", weights, Activation::normed, Activation::logits);
  }

  void before_attention() {
    if (fused_ && qkv()) return;
    norm("attention norm", Role::attention_norm);
    projection("Q", Role::q, Activation::q);
    bias("bias of Q", Role::q_bias, Activation::q);
    projection("K", Role::k, Activation::k);
    bias("bias of K", Role::k_bias, Activation::k);
    projection("V", Role::v, Activation::v);
    bias("bias of V", Role::v_bias, Activation::v);
    rope("rope of Q", Activation::q, h_.n_heads);
    rope("rope of K", Activation::k, h_.n_kv_heads);
    const KvView cache = cache_.view(layer_);
    enter("kv append", kKvAppend,
          KvAppendParams{at(Activation::k), at(Activation::v), cache, workspace_.sequence(),
                         workspace_.position(), 1, h_.n_kv_heads, h_.head_dim},
          Writes::kv_cache);
  }

  /// One launch for each format that Q, K and V are of. False if one of them has no fused way.
  bool qkv() {
    struct Part {
      Role matrix, bias;
      Matrix QkvParams::*rows;
      const float* QkvParams::*added;
    };
    constexpr std::array kParts{Part{Role::q, Role::q_bias, &QkvParams::q, &QkvParams::q_bias},
                                Part{Role::k, Role::k_bias, &QkvParams::k, &QkvParams::k_bias},
                                Part{Role::v, Role::v_bias, &QkvParams::v, &QkvParams::v_bias}};
    std::map<Format, QkvParams> of_format;
    for (const Part& part : kParts) {
      const Matrix matrix = weights_.find_matrix(part.matrix, layer_)->view();
      QkvParams& params = of_format[matrix.format];
      params.*part.rows = matrix;
      params.*part.added = vector(part.bias);
    }
    for (auto& [format, p] : of_format) {
      const Matrix& some = p.q.rows > 0 ? p.q : p.k.rows > 0 ? p.k : p.v;
      p.x = at(Activation::hidden);
      p.weight = vector(Role::attention_norm);
      p.table = rope_table_;
      p.sequence = workspace_.sequence();
      p.position = workspace_.position();
      p.y = at(Activation::q);
      p.cache = cache_.view(layer_);
      p.width = some.cols;
      p.stride = some.stride;
      p.head_dim = h_.head_dim;
      p.n_rotated = h_.n_rotated;
      p.neox = h_.architecture->rope_pairs == RopePairs::neox ? 1 : 0;
      p.eps = h_.eps;
      if (qkv_op(format, activations_).find_default_variant(p) == nullptr) return false;
    }
    for (const auto& [format, p] : of_format) {
      const std::string label =
          std::string(p.q.rows > 0 ? "Q" : "") + (p.k.rows > 0 ? "K" : "") + (p.v.rows > 0 ? "V" : "");
      if (p.q.rows > 0) {
        add(label, qkv_op(format, activations_), p, Activation::q).format = traits(format).gguf_name;
      } else {
        enter(label, qkv_op(format, activations_), p, Writes::kv_cache).format = traits(format).gguf_name;
      }
    }
    return true;
  }

  void attention() {
    before_attention();
    const KvView cache = cache_.view(layer_);
    AttentionDecodeParams attended = attention_params(h_, cache);
    attended.q = at(Activation::q);
    attended.sequence = workspace_.sequence();
    attended.position = workspace_.position();
    attended.y = at(Activation::attention);
    add("attention", kAttentionDecode, attended, Activation::attention).work_a_position =
        work_a_position(attended);
    into_hidden("attention output", "residual of attention", Role::attention_output, Activation::attention);
  }

  void feed_forward() {
    if (!fused_ || !gate_up()) separate_gate_up();
    into_hidden("down", "residual of ffn", Role::down, Activation::activated);
  }

  bool gate_up() {
    const Matrix gate = weights_.find_matrix(Role::gate, layer_)->view();
    const Matrix up = weights_.find_matrix(Role::up, layer_)->view();
    const GateUpParams params{
        gate, up, at(Activation::hidden), vector(Role::ffn_norm), at(Activation::activated), h_.eps};
    if (gate.format != up.format ||
        gate_up_op(gate.format, activations_).find_default_variant(params) == nullptr)
      return false;
    add("gate and up", gate_up_op(gate.format, activations_), params, Activation::activated).format =
        traits(gate.format).gguf_name;
    return true;
  }

  void separate_gate_up() {
    norm("ffn norm", Role::ffn_norm);
    projection("gate", Role::gate, Activation::gate);
    projection("up", Role::up, Activation::up);
    add("swiglu", kSwiglu,
        SwigluParams{at(Activation::gate), at(Activation::up), at(Activation::activated), h_.n_ffn},
        Activation::activated);
  }

  /// A product that is added to the hidden state.
  void into_hidden(const char* label, const char* of_residual, Role role, Activation x) {
    const DeviceMatrix& weights = *weights_.find_matrix(role, layer_);
    if (fused_) {
      const Format format = weights.view().format;
      add(label, gemv_add_op(format, activations_),
          GemvAddParams{weights.view(), at(x), at(Activation::hidden)}, Activation::hidden)
          .format = traits(format).gguf_name;
      return;
    }
    product(label, weights, x, Activation::projected);
    residual(of_residual);
  }

  void norm(const char* label, Role role) {
    add(label, kRmsNorm,
        RmsNormParams{at(Activation::hidden), weights_.find_vector(role, layer_)->data(),
                      at(Activation::normed), 1, h_.width, h_.eps},
        Activation::normed);
  }
  void product(const char* label, const DeviceMatrix& weights, Activation x, Activation y) {
    add(label, gemv_op(weights.view().format, activations_), GemvParams{weights.view(), at(x), at(y)}, y)
        .format = traits(weights.view().format).gguf_name;
  }
  void projection(const char* label, Role role, Activation y) {
    product(label, *weights_.find_matrix(role, layer_), Activation::normed, y);
  }
  /// Where the architecture has one.
  void bias(const char* label, Role role, Activation y) {
    const Buffer<float>* const b = weights_.find_vector(role, layer_);
    if (b != nullptr) add(label, kBias, BiasParams{at(y), b->data(), 1, static_cast<int>(b->size())}, y);
  }
  void rope(const char* label, Activation x, int n_heads) {
    const Op<RopeParams>& op = h_.architecture->rope_pairs == RopePairs::normal ? kRopeNormal : kRopeNeox;
    add(label, op,
        RopeParams{at(x), rope_table_, workspace_.position(), 1, n_heads, h_.head_dim, h_.n_rotated}, x);
  }
  void residual(const char* label) {
    add(label, kResidualAdd, ResidualAddParams{at(Activation::hidden), at(Activation::projected), h_.width},
        Activation::hidden);
  }

  const Device& device_;
  const Hparams& h_;
  const Weights& weights_;
  const KvCache& cache_;
  const Workspace& workspace_;
  const float2* rope_table_;
  bool fused_;
  Activations activations_;
  int layer_ = -1;
  StepPlan plan_;
};

}  // namespace

StepMemory step_memory(const Hparams& h, int n_positions, int n_sms) {
  // The ops whose default variants work in memory of their own; the planner refuses one that is not counted.
  StepMemory memory;
  const auto count = [&](const auto& op, const auto& params) {
    const auto& variant = op.default_variant(params);
    memory.scratch = std::max(memory.scratch, variant.scratch_bytes(params, n_sms));
    memory.state = std::max(memory.state, variant.state_bytes(params, n_sms));
  };
  count(kAttentionDecode, attention_params(h, KvCache::layout(h, n_positions)));
  count(kArgmax, ArgmaxParams{nullptr, nullptr, 1, h.n_vocab});
  return memory;
}

StepPlan plan_step(const Device& device, const Hparams& h, const Weights& weights, const KvCache& cache,
                   const Workspace& workspace, const float2* rope_table, StepOps ops,
                   Activations activations) {
  return Planner(device, h, weights, cache, workspace, rope_table, ops, activations).plan();
}

std::vector<Launch> launches(const StepPlan& plan) {
  std::vector<Launch> all;
  for (const PlannedOp& op : plan) all.insert(all.end(), op.launches.begin(), op.launches.end());
  return all;
}

void run(Stream& stream, const StepPlan& plan, const std::function<void(const PlannedOp&)>& queued) {
  for (const PlannedOp& op : plan) {
    for (const Launch& launch : op.launches) stream.launch(launch);
    if (queued) queued(op);
  }
}

}  // namespace m40llm
