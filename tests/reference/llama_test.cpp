#include "reference/llama.hpp"

#include <gtest/gtest.h>

namespace m40llm::reference {
namespace {

/// Numbers in [-1, 1] from a linear congruence; the test needs some, not good ones.
template <class S>
struct Numbers {
  std::uint32_t state = 1;
  S next() {
    state = state * 1664525u + 1013904223u;
    return static_cast<S>(static_cast<float>(state >> 8) * 0x1p-23f - 1);
  }
  Matrix<S> matrix(int rows, int cols) {
    return Matrix<S>::NullaryExpr(rows, cols, [this] { return next() * S(0.25); });
  }
  Vector<S> vector(int n) {
    return Vector<S>::NullaryExpr(n, [this] { return 1 + next() * S(0.25); });
  }
};

template <class S>
Weights<S> tiny_model() {
  Numbers<S> numbers;
  Weights<S> w;
  w.shape = {.width = 24, .n_heads = 4, .n_kv_heads = 2, .head_dim = 6, .n_rotated = 6};
  w.embedding = numbers.matrix(11, 24);
  for (int l = 0; l < 3; ++l) {
    w.layers.push_back({numbers.vector(24), numbers.matrix(24, 24), numbers.matrix(12, 24),
                        numbers.matrix(12, 24), numbers.matrix(24, 24), numbers.vector(24),
                        numbers.matrix(40, 24), numbers.matrix(40, 24), numbers.matrix(24, 40)});
  }
  w.output_norm = numbers.vector(24);
  return w;
}

TEST(Llama, FloatIsDoubleRoundedInEveryOrder) {
  const Weights<double> exact_weights = tiny_model<double>();
  const Weights<float> weights = tiny_model<float>();
  for (const Order order : {Order::eigen, Order::sequential, Order::pairwise}) {
    Llama<double> exact(exact_weights, 8);
    Llama<float> rounded(weights, 8, order);
    for (const int token : {3, 1, 4, 1, 5}) {
      const Vector<double> want = exact.forward(token);
      const Vector<float> got = rounded.forward(token);
      ASSERT_EQ(got.size(), 11);
      // Rounding K and V to binary16 can differ by one of its ulps where S differs; all else is 2^-24 of the
      // values.
      EXPECT_LT((got.cast<double>() - want).cwiseAbs().maxCoeff(), 2e-3);
    }
  }
}

TEST(Llama, OrdersDiffer) {
  const Weights<float> weights = tiny_model<float>();
  Llama<float> sequential(weights, 8, Order::sequential);
  Llama<float> pairwise(weights, 8, Order::pairwise);
  EXPECT_NE(sequential.forward(3), pairwise.forward(3));
}

TEST(Llama, TraceAndLayersAgreeWithForward) {
  const Weights<double> weights = tiny_model<double>();
  Llama<double> whole(weights, 4);
  Llama<double> traced(weights, 4);
  Llama<double> by_layer(weights, 4);
  for (int position = 0; position < 3; ++position) {
    const Vector<double> logits = whole.forward(position + 2);
    const Trace<double> trace = traced.trace(position + 2);
    ASSERT_EQ(trace.hidden.size(), 4U);
    EXPECT_EQ(trace.logits, logits);
    for (int l = 0; l < 3; ++l) {
      const auto at = static_cast<std::size_t>(l);
      EXPECT_EQ(by_layer.layer(l, position, trace.hidden[at]), trace.hidden[at + 1]);
    }
    EXPECT_EQ(by_layer.logits(trace.hidden[3]), logits);
  }
}

TEST(Llama, EarlierTokensMatter) {
  const Weights<double> weights = tiny_model<double>();
  Llama<double> a(weights, 4);
  Llama<double> b(weights, 4);
  a.forward(1);
  b.forward(2);
  EXPECT_NE(a.forward(3), b.forward(3));
}

TEST(Llama, AtTheFirstPositionAttentionIsTheValue) {
  // With one position softmax is 1 and rope the identity: the layer can be written without either.
  const Weights<double> weights = tiny_model<double>();
  Llama<double> model(weights, 1);
  const Trace<double> trace = model.trace(7);
  const Layer<double>& w = weights.layers[0];
  const Vector<double> x = weights.embedding.row(7).transpose();
  const Vector<double> a = x / std::sqrt(x.squaredNorm() / 24 + 1e-5);
  Vector<double> v = w.v * a.cwiseProduct(w.attention_norm);
  for (double& value : v) value = round_to_half(value);
  Vector<double> heads(24);
  heads << v.head(6), v.head(6), v.tail(6), v.tail(6);
  const Vector<double> h = x + w.attention_output * heads;
  const Vector<double> b = (h / std::sqrt(h.squaredNorm() / 24 + 1e-5)).cwiseProduct(w.ffn_norm);
  const Vector<double> gate = w.gate * b;
  const Vector<double> up = w.up * b;
  const Vector<double> silu = gate.array() / (1 + (-gate.array()).exp());
  const Vector<double> y = h + w.down * silu.cwiseProduct(up);
  EXPECT_LT((trace.hidden[1] - y).cwiseAbs().maxCoeff(), 1e-13);
  EXPECT_THROW(model.forward(1), std::out_of_range);
}

}  // namespace
}  // namespace m40llm::reference
