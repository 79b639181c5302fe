#include "engine/model/architecture.hpp"

#include <algorithm>
#include <array>

#include "engine/model/hparams.hpp"

namespace m40llm {
namespace {

constexpr auto vocab = [](const Hparams& h) { return h.n_vocab; };
constexpr auto width = [](const Hparams& h) { return h.width; };
constexpr auto ffn = [](const Hparams& h) { return h.n_ffn; };
constexpr auto heads = [](const Hparams& h) { return h.n_heads * h.head_dim; };
constexpr auto kv_heads = [](const Hparams& h) { return h.n_kv_heads * h.head_dim; };
constexpr auto pairs = [](const Hparams& h) { return h.n_rotated / 2; };

using Extent = int (*)(const Hparams& h);

constexpr TensorRow vector(Role role, std::string_view name, Extent n, Need need = Need::required) {
  return {role, name, false, need, nullptr, n};
}
constexpr TensorRow matrix(Role role, std::string_view name, Extent rows, Extent cols,
                           Need need = Need::required) {
  return {role, name, false, need, rows, cols};
}
constexpr TensorRow of_each_layer(TensorRow row) {
  row.per_layer = true;
  return row;
}

// Names and shapes: gguf-py/gguf/constants.py and src/llama-model.cpp of llama.cpp.
constexpr TensorRow kEmbedding = matrix(Role::embedding, "token_embd.weight", vocab, width);
constexpr TensorRow kOutputNorm = vector(Role::output_norm, "output_norm.weight", width);
constexpr TensorRow kOutput = matrix(Role::output, "output.weight", vocab, width, Need::optional);
constexpr TensorRow kRopeFactors = vector(Role::rope_factors, "rope_freqs.weight", pairs, Need::optional);
constexpr TensorRow kAttentionNorm = of_each_layer(vector(Role::attention_norm, "attn_norm.weight", width));
constexpr TensorRow kQ = of_each_layer(matrix(Role::q, "attn_q.weight", heads, width));
constexpr TensorRow kK = of_each_layer(matrix(Role::k, "attn_k.weight", kv_heads, width));
constexpr TensorRow kV = of_each_layer(matrix(Role::v, "attn_v.weight", kv_heads, width));
constexpr TensorRow kQBias = of_each_layer(vector(Role::q_bias, "attn_q.bias", heads));
constexpr TensorRow kKBias = of_each_layer(vector(Role::k_bias, "attn_k.bias", kv_heads));
constexpr TensorRow kVBias = of_each_layer(vector(Role::v_bias, "attn_v.bias", kv_heads));
constexpr TensorRow kAttentionOutput =
    of_each_layer(matrix(Role::attention_output, "attn_output.weight", width, heads));
constexpr TensorRow kFfnNorm = of_each_layer(vector(Role::ffn_norm, "ffn_norm.weight", width));
constexpr TensorRow kGate = of_each_layer(matrix(Role::gate, "ffn_gate.weight", ffn, width));
constexpr TensorRow kUp = of_each_layer(matrix(Role::up, "ffn_up.weight", ffn, width));
constexpr TensorRow kDown = of_each_layer(matrix(Role::down, "ffn_down.weight", width, ffn));

constexpr TensorRow kLlama[] = {
    kEmbedding,       kOutputNorm, kOutput, kRopeFactors, kAttentionNorm, kQ, kK, kV,
    kAttentionOutput, kFfnNorm,    kGate,   kUp,          kDown,
};
constexpr TensorRow kQwen2[] = {
    kEmbedding, kOutputNorm, kOutput,          kAttentionNorm, kQ,    kQBias, kK,    kKBias,
    kV,         kVBias,      kAttentionOutput, kFfnNorm,       kGate, kUp,    kDown,
};

constexpr std::array kArchitectures{
    // Its files keep rows of Q and K permuted so that pairs stand side by side.
    Architecture{"llama", RopePairs::normal, kLlama},
    Architecture{"qwen2", RopePairs::neox, kQwen2},
};

}  // namespace

std::span<const Architecture> architectures() { return kArchitectures; }

const Architecture* find_architecture(std::string_view name) {
  const auto it = std::ranges::find(kArchitectures, name, &Architecture::name);
  return it == kArchitectures.end() ? nullptr : &*it;
}

std::vector<NamedTensor> tensors_of(const Hparams& h) {
  std::vector<NamedTensor> tensors;
  for (int layer = -1; layer < h.n_layers; ++layer) {
    for (const TensorRow& row : h.architecture->tensors) {
      if (row.per_layer != (layer >= 0)) continue;
      const std::string block = layer < 0 ? "" : "blk." + std::to_string(layer) + ".";
      tensors.push_back({&row, layer, block + std::string(row.name)});
    }
  }
  return tensors;
}

}  // namespace m40llm
