#include "reference/llama.hpp"

#include <utility>

namespace m40llm::reference {
namespace {

/// (n_heads * head_dim) as (n_heads, head_dim).
template <class S>
Matrix<S> as_heads(const Vector<S>& x, int head_dim) {
  return Eigen::Map<const Matrix<S>>(x.data(), x.size() / head_dim, head_dim);
}

template <class S>
Vector<S> flat(const Matrix<S>& x) {
  return Eigen::Map<const Vector<S>>(x.data(), x.size());
}

template <class S>
Vector<S> biased(const Vector<S>& y, const Vector<S>& b) {
  return b.size() == 0 ? y : bias<S>(y, b);
}

}  // namespace

template <class S>
Llama<S>::Llama(const Weights<S>& weights, int n_positions, Order order, KvStorage<S> storage)
    : weights_(&weights), n_positions_(n_positions), order_(order), storage_(std::move(storage)) {
  const Cache<S> empty =
      Cache<S>::Zero(Eigen::Index{n_positions} * weights.shape.n_kv_heads, weights.shape.head_dim);
  keys_.assign(weights.layers.size(), empty);
  values_.assign(weights.layers.size(), empty);
}

template <class S>
Vector<S> Llama<S>::layer(int index, int position, const Vector<S>& x) {
  if (position < 0 || position >= n_positions_) throw std::out_of_range("position outside the cache");
  const Hyperparameters& shape = weights_->shape;
  const auto l = static_cast<std::size_t>(index);
  const Layer<S>& w = weights_->layers.at(l);
  const S eps = static_cast<S>(shape.eps);

  const Vector<S> a = rms_norm<S>(x, w.attention_norm, eps, order_);
  Matrix<S> q = as_heads<S>(biased<S>(gemv<S>(w.q, a, order_), w.q_bias), shape.head_dim);
  Matrix<S> k = as_heads<S>(biased<S>(gemv<S>(w.k, a, order_), w.k_bias), shape.head_dim);
  Matrix<S> v = as_heads<S>(biased<S>(gemv<S>(w.v, a, order_), w.v_bias), shape.head_dim);
  rope<S>(shape.rope_pairs, q, position, shape.n_rotated, shape.rope_base, shape.rope_factors);
  rope<S>(shape.rope_pairs, k, position, shape.n_rotated, shape.rope_base, shape.rope_factors);
  storage_(index, position, k, v);
  keys_[l].middleRows(position * k.rows(), k.rows()) = k;
  values_[l].middleRows(position * v.rows(), v.rows()) = v;
  const S scale = S(1) / std::sqrt(static_cast<S>(shape.head_dim));
  const Matrix<S> attended =
      attention_decode<S>(q, keys_[l], values_[l], position, shape.n_kv_heads, scale, order_);
  const Vector<S> h = residual_add<S>(x, gemv<S>(w.attention_output, flat<S>(attended), order_));

  const Vector<S> b = rms_norm<S>(h, w.ffn_norm, eps, order_);
  const Vector<S> activated = swiglu<S>(gemv<S>(w.gate, b, order_), gemv<S>(w.up, b, order_));
  return residual_add<S>(h, gemv<S>(w.down, activated, order_));
}

template <class S>
Vector<S> Llama<S>::logits(const Vector<S>& x) const {
  const Matrix<S>& output = weights_->output.size() == 0 ? weights_->embedding : weights_->output;
  return gemv<S>(output, rms_norm<S>(x, weights_->output_norm, static_cast<S>(weights_->shape.eps), order_),
                 order_);
}

template <class S>
Trace<S> Llama<S>::trace(int token) {
  Trace<S> trace;
  trace.hidden.push_back(embedding<S>(weights_->embedding, token));
  for (std::size_t l = 0; l < weights_->layers.size(); ++l) {
    trace.hidden.push_back(layer(static_cast<int>(l), position_, trace.hidden.back()));
  }
  ++position_;
  trace.logits = logits(trace.hidden.back());
  return trace;
}

template <class S>
Vector<S> Llama<S>::forward(int token) {
  return trace(token).logits;
}

template class Llama<float>;
template class Llama<double>;

}  // namespace m40llm::reference
