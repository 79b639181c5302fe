#include "engine/model/llama.hpp"

#include <array>
#include <cmath>
#include <cstring>

#include "engine/error.hpp"
#include "engine/model/memory.hpp"
#include "engine/model/rope_table.hpp"
#include "engine/ops/argmax.hpp"
#include "engine/ops/attention_decode.hpp"
#include "engine/ops/embedding.hpp"
#include "engine/ops/gemv.hpp"
#include "engine/ops/kv_append.hpp"
#include "engine/ops/residual_add.hpp"
#include "engine/ops/rms_norm.hpp"
#include "engine/ops/rope.hpp"
#include "engine/ops/swiglu.hpp"

namespace m40llm {
namespace {

template <class Params>
void run(Stream& stream, const Op<Params>& op, const Params& params) {
  const Variant<Params>& variant = op.default_variant(params);
  stream.launch(variant.kernel, variant.config(params), params);
}

/// n floats, zeros in them and behind them up to the next multiple of 32.
Buffer<float> activation(Device& device, Stream& stream, int n) {
  Buffer<float> buffer(device, static_cast<std::size_t>(n + 31) / 32 * 32, "activations");
  stream.fill(buffer.data(), 0, buffer.bytes());
  return buffer;
}

Buffer<float> vector(Device& device, Stream& stream, const gguf::File& file, const gguf::Tensor& tensor) {
  const std::vector<std::byte> data = file.read(tensor);
  Buffer<float> buffer(device, tensor.elements(), "weights");
  stream.copy_to_device(buffer.data(), data.data(), data.size());
  stream.synchronize();
  return buffer;
}

Buffer<float2> rope_rows(Device& device, Stream& stream, const Hparams& h, int n_positions) {
  const std::vector<float2> rows = RopeTable(h.n_rotated, static_cast<double>(h.rope_base)).rows(n_positions);
  Buffer<float2> buffer(device, rows.size(), "rope_table");
  buffer.upload(stream, rows);
  stream.synchronize();
  return buffer;
}

void tell(const OnOutput& on_output, int layer, const char* op, const Buffer<float>& y) {
  if (on_output) on_output({layer, op, {y.data(), y.size()}});
}

/// Checked before anything is allocated.
Hparams fitting_hparams(const Device& device, const gguf::File& file, int n_positions) {
  const Hparams h = read_hparams(file);
  if (n_positions < 1 || n_positions > h.n_context) {
    throw Error(std::to_string(n_positions) + " positions; the model's context has 1 to " +
                std::to_string(h.n_context));
  }
  require_memory(device, file, h, n_positions);
  return h;
}

}  // namespace

Llama::Weights::Weights(Device& device, Stream& stream, const gguf::File& file, const gguf::Tensor& tensor)
    : matrix(device, stream, file, tensor, "weights") {}

Llama::Layer Llama::load_layer(Device& device, Stream& stream, const gguf::File& file, int layer) const {
  const auto tensor = [&](const char* name) -> const gguf::Tensor& {
    return file.tensor("blk." + std::to_string(layer) + "." + name + ".weight");
  };
  const auto norm = [&](const char* name) { return vector(device, stream, file, tensor(name)); };
  const auto matrix = [&](const char* name) { return Weights(device, stream, file, tensor(name)); };
  return {norm("attn_norm"), matrix("attn_q"),   matrix("attn_k"), matrix("attn_v"),  matrix("attn_output"),
          norm("ffn_norm"),  matrix("ffn_gate"), matrix("ffn_up"), matrix("ffn_down")};
}

Llama::Llama(Device& device, Stream& stream, const gguf::File& file, int n_positions)
    : hparams_(fitting_hparams(device, file, n_positions)),
      embedding_(device, stream, file, file.tensor("token_embd.weight")),
      output_norm_(vector(device, stream, file, file.tensor("output_norm.weight"))),
      rope_table_(rope_rows(device, stream, hparams_, n_positions)),
      kv_cache_(device, hparams_, n_positions),
      token_and_position_(device, 3, "activations"),
      hidden_(activation(device, stream, hparams_.width)),
      normed_(activation(device, stream, hparams_.width)),
      q_(activation(device, stream, hparams_.n_heads * hparams_.head_dim)),
      k_(activation(device, stream, hparams_.n_kv_heads * hparams_.head_dim)),
      v_(activation(device, stream, hparams_.n_kv_heads * hparams_.head_dim)),
      attention_(activation(device, stream, hparams_.n_heads * hparams_.head_dim)),
      projected_(activation(device, stream, hparams_.width)),
      gate_(activation(device, stream, hparams_.n_ffn)),
      up_(activation(device, stream, hparams_.n_ffn)),
      activated_(activation(device, stream, hparams_.n_ffn)),
      logits_(device, static_cast<std::size_t>(hparams_.n_vocab), "activations"),
      next_token_(device, 1, "activations") {
  for (int layer = 0; layer < hparams_.n_layers; ++layer)
    layers_.push_back(load_layer(device, stream, file, layer));
  if (const gguf::Tensor* output = file.find_tensor("output.weight"))
    output_.emplace_back(device, stream, file, *output);
  stream.synchronize();
}

void Llama::forward(Stream& stream, int token, int position, std::span<float> hidden,
                    const OnOutput& on_output) {
  if (token < 0 || token >= hparams_.n_vocab) {
    throw Error("token " + std::to_string(token) + "; the vocabulary has 0 to " +
                std::to_string(hparams_.n_vocab - 1));
  }
  if (position < 0 || position >= n_positions()) {
    throw Error("position " + std::to_string(position) + "; the sequence has room for 0 to " +
                std::to_string(n_positions() - 1));
  }
  const auto width = static_cast<std::size_t>(hparams_.width);
  const auto keep = [&](std::size_t layer) {
    if (!hidden.empty())
      stream.copy_to_host(hidden.data() + layer * width, hidden_.data(), width * sizeof(float));
  };
  token_and_position_.upload(stream, std::array{token, position, 0});
  run(stream, embedding_op(embedding_.matrix.view().format),
      EmbeddingParams{embedding_.matrix.view(), token_and_position_.data(), hidden_.data()});
  tell(on_output, -1, "embedding", hidden_);
  for (std::size_t layer = 0; layer < layers_.size(); ++layer) {
    keep(layer);
    attention(stream, static_cast<int>(layer), on_output);
    feed_forward(stream, static_cast<int>(layer), on_output);
  }
  keep(layers_.size());
  norm(stream, output_norm_);
  tell(on_output, -1, "output norm", normed_);
  gemv(stream, output_.empty() ? embedding_ : output_.front(), normed_, logits_);
  tell(on_output, -1, "logits", logits_);
  run(stream, kArgmax, ArgmaxParams{logits_.data(), next_token_.data(), 1, hparams_.n_vocab});
}

void Llama::attention(Stream& stream, int layer, const OnOutput& on_output) const {
  const Hparams& h = hparams_;
  const Layer& weights = layers_[static_cast<std::size_t>(layer)];
  const int* const position = token_and_position_.data() + 1;
  const int* const sequence = token_and_position_.data() + 2;
  norm(stream, weights.attention_norm);
  tell(on_output, layer, "attention norm", normed_);
  gemv(stream, weights.q, normed_, q_);
  tell(on_output, layer, "Q", q_);
  gemv(stream, weights.k, normed_, k_);
  tell(on_output, layer, "K", k_);
  gemv(stream, weights.v, normed_, v_);
  tell(on_output, layer, "V", v_);
  rope(stream, q_, h.n_heads);
  tell(on_output, layer, "rope of Q", q_);
  rope(stream, k_, h.n_kv_heads);
  tell(on_output, layer, "rope of K", k_);
  const KvView cache = kv_cache_.view(layer);
  run(stream, kKvAppend,
      KvAppendParams{k_.data(), v_.data(), cache, sequence, position, 1, h.n_kv_heads, h.head_dim});
  if (on_output) on_output({layer, "kv append", {}});
  const float scale = static_cast<float>(1.0 / std::sqrt(static_cast<double>(h.head_dim)));
  run(stream, kAttentionDecode,
      AttentionDecodeParams{q_.data(), cache, sequence, position, attention_.data(), 1, h.n_heads,
                            h.n_kv_heads, h.head_dim, scale});
  tell(on_output, layer, "attention", attention_);
  gemv(stream, weights.attention_output, attention_, projected_);
  tell(on_output, layer, "attention output", projected_);
  add(stream, projected_);
  tell(on_output, layer, "residual of attention", hidden_);
}

void Llama::feed_forward(Stream& stream, int layer, const OnOutput& on_output) const {
  const Layer& weights = layers_[static_cast<std::size_t>(layer)];
  norm(stream, weights.ffn_norm);
  tell(on_output, layer, "ffn norm", normed_);
  gemv(stream, weights.gate, normed_, gate_);
  tell(on_output, layer, "gate", gate_);
  gemv(stream, weights.up, normed_, up_);
  tell(on_output, layer, "up", up_);
  run(stream, kSwiglu, SwigluParams{gate_.data(), up_.data(), activated_.data(), hparams_.n_ffn});
  tell(on_output, layer, "swiglu", activated_);
  gemv(stream, weights.down, activated_, projected_);
  tell(on_output, layer, "down", projected_);
  add(stream, projected_);
  tell(on_output, layer, "residual of ffn", hidden_);
}

void Llama::gemv(Stream& stream, const Weights& weights, const Buffer<float>& x,
                 const Buffer<float>& y) const {
  run(stream, gemv_op(weights.matrix.view().format), GemvParams{weights.matrix.view(), x.data(), y.data()});
}

void Llama::norm(Stream& stream, const Buffer<float>& weight) const {
  run(stream, kRmsNorm,
      RmsNormParams{hidden_.data(), weight.data(), normed_.data(), 1, hparams_.width, hparams_.eps});
}

void Llama::rope(Stream& stream, const Buffer<float>& x, int n_heads) const {
  // Files of the llama architecture keep rows of Q and K permuted so that pairs stand side by side.
  run(stream, kRopeNormal,
      RopeParams{x.data(), rope_table_.data(), token_and_position_.data() + 1, 1, n_heads, hparams_.head_dim,
                 hparams_.n_rotated});
}

void Llama::add(Stream& stream, const Buffer<float>& y) const {
  run(stream, kResidualAdd, ResidualAddParams{hidden_.data(), y.data(), hparams_.width});
}

}  // namespace m40llm
