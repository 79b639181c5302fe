#pragma once
#include <cmath>
#include <cstdint>
#include <span>
#include <stdexcept>
#include <vector>

#include "reference/half.hpp"
#include "reference/rope_table.hpp"
#include "reference/summation.hpp"

/// Every op of a Llama forward as its definition, on a scalar type S (double to judge by, float to see what
/// rounding does).
namespace m40llm::reference {

/// Row `token` of the table (n_vocab, width); zeros for a token outside it.
template <class S>
Vector<S> embedding(const Matrix<S>& table, int token) {
  if (token < 0 || token >= table.rows()) return Vector<S>::Zero(table.cols());
  return table.row(token).transpose();
}

/// x / sqrt(mean(x^2) + eps) * weight (Zhang and Sennrich, 2019).
template <class S>
Vector<S> rms_norm(const Vector<S>& x, const Vector<S>& weight, S eps, Order order = Order::eigen) {
  const S mean_square = sum(x.cwiseProduct(x), order) / static_cast<S>(x.size());
  return (x * (S(1) / std::sqrt(mean_square + eps))).cwiseProduct(weight);
}

enum class RopePairs { normal, neox };

/// The two elements that pair i rotates: normal (2i, 2i + 1), neox (i, i + n_rotated / 2).
inline std::pair<int, int> rope_pair(RopePairs pairs, int i, int n_rotated) {
  return pairs == RopePairs::normal ? std::pair(2 * i, 2 * i + 1) : std::pair(i, i + n_rotated / 2);
}

/// Rotates each head of x (n_heads, head_dim) by the angles of one position, that of pair i divided by factor i
/// if there are factors (n_rotated / 2); what lies behind n_rotated stays.
template <class S>
void rope(RopePairs pairs, Matrix<S>& x, int position, int n_rotated, double base,
          const std::vector<double>& factors = {}) {
  for (int i = 0; i < n_rotated / 2; ++i) {
    const double factor = factors.empty() ? 1 : factors.at(static_cast<std::size_t>(i));
    const CosineSine angle = rope_angle(position, i, n_rotated, base, factor);
    const S cosine = static_cast<S>(angle.cosine);
    const S sine = static_cast<S>(angle.sine);
    const auto [first, second] = rope_pair(pairs, i, n_rotated);
    for (Eigen::Index head = 0; head < x.rows(); ++head) {
      const S x0 = x(head, first);
      const S x1 = x(head, second);
      x(head, first) = x0 * cosine - x1 * sine;
      x(head, second) = x0 * sine + x1 * cosine;
    }
  }
}

/// A x, A (rows, cols).
template <class S>
Vector<S> gemv(const Matrix<S>& a, const Vector<S>& x, Order order = Order::eigen) {
  Vector<S> y(a.rows());
  for (Eigen::Index row = 0; row < a.rows(); ++row)
    y(row) = sum(a.row(row).transpose().cwiseProduct(x), order);
  return y;
}

/// Each element rounded to binary16, to nearest even.
template <class S>
Matrix<S> binary16(const Matrix<S>& x) {
  return x.unaryExpr([](S value) { return round_to_half(value); });
}

/// The cache of one layer, K or V: row = position * n_kv_heads + kv_head.
template <class S>
using Cache = Matrix<S>;

/// Stores x (n_kv_heads, head_dim) rounded to binary16 at `position` of the cache (positions * n_kv_heads,
/// head_dim).
template <class S>
void kv_append(const Matrix<S>& x, int position, Cache<S>& cache) {
  cache.middleRows(position * x.rows(), x.rows()) = binary16<S>(x);
}

/// One head over the keys and values (n, head_dim) it attends to, with what stands between: the gate needs
/// it.
template <class S>
struct AttentionHead {
  Vector<S> scores;         ///< (n) scale q . k_j
  Vector<S> probabilities;  ///< (n) softmax of the scores
  Vector<S> y;              ///< (head_dim)
};

template <class S>
AttentionHead<S> attend(const Vector<S>& q, const Matrix<S>& k, const Matrix<S>& v, S scale,
                        Order order = Order::eigen) {
  AttentionHead<S> head;
  head.scores = gemv(k, q, order) * scale;
  const S maximum = head.scores.maxCoeff();
  head.probabilities = head.scores.unaryExpr([maximum](S score) { return std::exp(score - maximum); });
  head.probabilities /= sum(head.probabilities, order);
  head.y.resize(v.cols());
  for (Eigen::Index i = 0; i < v.cols(); ++i)
    head.y(i) = sum(v.col(i).cwiseProduct(head.probabilities), order);
  return head;
}

/// Grouped-query attention of one token (Ainslie et al., 2023) over positions [0, position]: q (n_heads,
/// head_dim), caches as kv_append fills them; head h reads KV head h / (n_heads / n_kv_heads). Returns
/// (n_heads, head_dim).
template <class S>
Matrix<S> attention_decode(const Matrix<S>& q, const Cache<S>& k, const Cache<S>& v, int position,
                           int n_kv_heads, S scale, Order order = Order::eigen) {
  const Eigen::Index group = q.rows() / n_kv_heads;
  Matrix<S> y(q.rows(), q.cols());
  for (Eigen::Index head = 0; head < q.rows(); ++head) {
    const auto rows = Eigen::seqN(head / group, Eigen::Index{position} + 1, Eigen::Index{n_kv_heads});
    const Matrix<S> keys = k(rows, Eigen::all);
    const Matrix<S> values = v(rows, Eigen::all);
    const Vector<S> query = q.row(head).transpose();
    y.row(head) = attend<S>(query, keys, values, scale, order).y.transpose();
  }
  return y;
}

/// gate / (1 + exp(-gate)) * up (Shazeer, 2020).
template <class S>
Vector<S> swiglu(const Vector<S>& gate, const Vector<S>& up) {
  return gate.binaryExpr(up, [](S g, S u) { return g / (S(1) + std::exp(-g)) * u; });
}

template <class S>
Vector<S> residual_add(const Vector<S>& x, const Vector<S>& y) {
  return x + y;
}

/// y + b.
template <class S>
Vector<S> bias(const Vector<S>& y, const Vector<S>& b) {
  return y + b;
}

/// What a sequence is fed.
struct Fed {
  int token, position;
};
/// What follows `position`: the prompt's token there, or behind the prompt the one that was chosen.
inline Fed advance(int position, int chosen, const std::vector<int>& prompt) {
  const auto next = static_cast<std::size_t>(position) + 1;
  return {next < prompt.size() ? prompt[next] : chosen, position + 1};
}

/// The place of the largest element, of equal ones the first; ~i, which is negative, where x(i) is the first that
/// is not finite.
template <class S>
int argmax(const Vector<S>& x) {
  Eigen::Index best = 0;
  for (Eigen::Index i = 0; i < x.size(); ++i) {
    if (!std::isfinite(x(i))) return ~static_cast<int>(i);
    if (x(i) > x(best)) best = i;
  }
  return static_cast<int>(best);
}

/// The sum of every `part` words of x, modulo 2^32; the last part may be shorter.
inline std::vector<std::uint32_t> sums_of_words(std::span<const std::uint32_t> x, std::size_t part) {
  std::vector<std::uint32_t> sums((x.size() + part - 1) / part);
  for (std::size_t i = 0; i < x.size(); ++i) sums[i / part] += x[i];
  return sums;
}

}  // namespace m40llm::reference
