#pragma once
#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "engine/device/buffer.hpp"
#include "engine/gguf/file.hpp"
#include "engine/kv_cache/kv_cache.hpp"
#include "engine/model/hparams.hpp"
#include "engine/model/pack.hpp"

namespace m40llm {

/// What an op of a step wrote.
struct StepOutput {
  int layer = -1;            ///< -1: before the first layer or behind the last
  const char* op = nullptr;  ///< "gate", "rope of Q", ...
  /// Device memory, right once the stream has done what was queued so far. Empty: K and V, into the cache.
  std::span<const float> values;
};
using OnOutput = std::function<void(const StepOutput&)>;

/// A model of the llama architecture on a device, and one sequence on it: a token goes in at a position,
/// logits come out.
class Llama {
 public:
  /// Checks the file, repacks its weights and uploads them on `stream`. n_positions: what the sequence may
  /// reach, at most the model's context. Throws Error on a file that does not fit or a device that is too
  /// small.
  Llama(Device& device, Stream& stream, const gguf::File& file, int n_positions);

  const Hparams& hparams() const { return hparams_; }
  int n_positions() const { return kv_cache_.n_positions(); }
  const KvCache& kv_cache() const { return kv_cache_; }

  /// Queues one token's forward pass, op by op: its K and V go into the cache at `position`, logits() and
  /// next_token() get their values. Positions come in order from 0 on; the last one may be taken again.
  /// `hidden`, unless empty, gets the hidden state (n_layers + 1, width) on the way: [l] is layer l's input,
  /// the last the input of the final norm; synchronize before reading it. `on_output`, unless empty, is told
  /// of each op but the choice of the next token once it is queued. Throws Error on a token or position out
  /// of range.
  void forward(Stream& stream, int token, int position, std::span<float> hidden = {},
               const OnOutput& on_output = {});

  const Buffer<float>& logits() const { return logits_; }  ///< (n_vocab)
  /// The largest logit's; ~i, which is negative, if logit i is the first that is not finite.
  const Buffer<int>& next_token() const { return next_token_; }

 private:
  struct Weights {
    Weights(Device& device, Stream& stream, const gguf::File& file, const gguf::Tensor& tensor);
    DeviceMatrix matrix;
  };
  struct Layer {
    Buffer<float> attention_norm;
    Weights q, k, v, attention_output;
    Buffer<float> ffn_norm;
    Weights gate, up, down;
  };

  Layer load_layer(Device& device, Stream& stream, const gguf::File& file, int layer) const;
  void gemv(Stream& stream, const Weights& weights, const Buffer<float>& x, const Buffer<float>& y) const;
  void norm(Stream& stream, const Buffer<float>& weight) const;
  void rope(Stream& stream, const Buffer<float>& x, int n_heads) const;
  void attention(Stream& stream, int layer, const OnOutput& on_output) const;
  void feed_forward(Stream& stream, int layer, const OnOutput& on_output) const;
  void add(Stream& stream, const Buffer<float>& y) const;

  Hparams hparams_;
  Weights embedding_;
  std::vector<Layer> layers_;
  Buffer<float> output_norm_;
  std::vector<Weights> output_;  // none: the embedding's
  Buffer<float2> rope_table_;    // (n_positions, n_rotated / 2)
  KvCache kv_cache_;
  Buffer<int> token_and_position_;  // and the sequence, of which there is one
  // Activations; each reaches to the next multiple of 32, zeros behind its end.
  Buffer<float> hidden_;                 // (width)
  Buffer<float> normed_;                 // (width)
  Buffer<float> q_;                      // (n_heads * head_dim)
  Buffer<float> k_, v_;                  // (n_kv_heads * head_dim)
  Buffer<float> attention_;              // (n_heads * head_dim)
  Buffer<float> projected_;              // (width)
  Buffer<float> gate_, up_, activated_;  // (n_ffn)
  Buffer<float> logits_;                 // (n_vocab)
  Buffer<int> next_token_;
};

}  // namespace m40llm
