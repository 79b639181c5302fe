#pragma once
#include <functional>
#include <vector>

#include "reference/ops.hpp"

/// The Llama architecture (Touvron et al., 2023) token by token, as plainly as it can be written; with biases of Q, K and
/// V, as Qwen2 has them (Yang et al., 2024), where there are any.
namespace m40llm::reference {

struct Hyperparameters {
  int width = 0;
  int n_heads = 0;
  int n_kv_heads = 0;  ///< divides n_heads
  int head_dim = 0;
  int n_rotated = 0;  ///< even, <= head_dim
  RopePairs rope_pairs = RopePairs::normal;
  double rope_base = 10000;
  std::vector<double> rope_factors = {};  ///< (n_rotated / 2): what angles are divided by; empty: by nothing
  double eps = 1e-5;
};

/// Weights of one layer, dequantised; matrices are (outputs, inputs).
template <class S>
struct Layer {
  Vector<S> attention_norm;    // (width)
  Matrix<S> q;                 // (n_heads * head_dim, width)
  Matrix<S> k;                 // (n_kv_heads * head_dim, width)
  Matrix<S> v;                 // (n_kv_heads * head_dim, width)
  Matrix<S> attention_output;  // (width, n_heads * head_dim)
  Vector<S> ffn_norm;          // (width)
  Matrix<S> gate;              // (ffn, width)
  Matrix<S> up;                // (ffn, width)
  Matrix<S> down;              // (width, ffn)
  Vector<S> q_bias = {};       // (n_heads * head_dim); empty, as the next two: none
  Vector<S> k_bias = {};       // (n_kv_heads * head_dim)
  Vector<S> v_bias = {};       // (n_kv_heads * head_dim)
};

template <class S>
struct Weights {
  Hyperparameters shape;
  Matrix<S> embedding;  // (n_vocab, width)
  std::vector<Layer<S>> layers;
  Vector<S> output_norm;  // (width)
  Matrix<S> output;       // (n_vocab, width); empty: the embedding is used
};

/// What a forward step passed through.
template <class S>
struct Trace {
  /// (n_layers + 1) of (width): [l] is the input of layer l, the last the output of the last layer.
  std::vector<Vector<S>> hidden;
  Vector<S> logits;  ///< (n_vocab)
};

/// Changes a layer's K and V (n_kv_heads, head_dim) of a position, K after rope, into what the cache holds of
/// them.
template <class S>
using KvStorage = std::function<void(int layer, int position, Matrix<S>& k, Matrix<S>& v)>;

/// As on the device: rounded to binary16.
template <class S>
void kv_in_binary16(int /*layer*/, int /*position*/, Matrix<S>& k, Matrix<S>& v) {
  k = binary16<S>(k);
  v = binary16<S>(v);
}
/// As they are.
template <class S>
void kv_unrounded(int /*layer*/, int /*position*/, Matrix<S>& /*k*/, Matrix<S>& /*v*/) {}

/// One sequence with its KV cache. S is float or double, of all arithmetic and activations.
template <class S>
class Llama {
 public:
  /// The weights must outlive the object. `order`: how every sum over more than two terms is taken.
  Llama(const Weights<S>& weights, int n_positions, Order order = Order::eigen,
        KvStorage<S> storage = kv_in_binary16<S>);

  /// The logits (n_vocab) after one more token.
  Vector<S> forward(int token);
  /// Likewise, with the hidden states on the way.
  Trace<S> trace(int token);

  /// One layer alone, from any input x (width) at a position: appends to that layer's cache and returns the
  /// layer's output. With the device's own inputs at each position in turn, it judges the device layer by
  /// layer.
  Vector<S> layer(int index, int position, const Vector<S>& x);
  /// The last norm and the product with the output matrix: (width) to (n_vocab).
  Vector<S> logits(const Vector<S>& x) const;

  int position() const { return position_; }

 private:
  const Weights<S>* weights_;
  int n_positions_;
  Order order_;
  KvStorage<S> storage_;
  int position_ = 0;                     // of the next token
  std::vector<Cache<S>> keys_, values_;  // by layer, (n_positions * n_kv_heads, head_dim)
};

extern template class Llama<float>;
extern template class Llama<double>;

}  // namespace m40llm::reference
