#include "reference/ops.hpp"

#include <gtest/gtest.h>

#include <limits>

namespace m40llm::reference {
namespace {

Vector<double> vector_of(std::initializer_list<double> values) {
  Vector<double> v(static_cast<Eigen::Index>(values.size()));
  Eigen::Index i = 0;
  for (const double value : values) v(i++) = value;
  return v;
}

TEST(Reference, EmbeddingTakesARow) {
  Matrix<double> table(2, 3);
  table << 1, 2, 3, 4, 5, 6;
  EXPECT_EQ(embedding<double>(table, 1), vector_of({4, 5, 6}));
  EXPECT_EQ(embedding<double>(table, 2), vector_of({0, 0, 0}));
  EXPECT_EQ(embedding<double>(table, -1), vector_of({0, 0, 0}));
}

TEST(Reference, RmsNormByHand) {
  // mean square of (1, -7) is 25; with eps 11 the root is 6.
  const Vector<double> y = rms_norm<double>(vector_of({1, -7}), vector_of({6, 3}), 11);
  EXPECT_NEAR(y(0), 1, 1e-15);
  EXPECT_NEAR(y(1), -3.5, 1e-15);
}

TEST(Reference, RopeTurnsPairs) {
  // Base 16, four dimensions: angles p and p / 4.
  Matrix<double> normal(1, 6);
  normal << 1, 0, 0, 1, 8, 9;
  Matrix<double> neox(1, 6);
  neox << 1, 0, 0, 1, 8, 9;
  rope<double>(RopePairs::normal, normal, 2, 4, 16);
  rope<double>(RopePairs::neox, neox, 2, 4, 16);
  const double expected_normal[] = {std::cos(2.0), std::sin(2.0), -std::sin(0.5), std::cos(0.5), 8, 9};
  const double expected_neox[] = {std::cos(2.0), -std::sin(0.5), std::sin(2.0), std::cos(0.5), 8, 9};
  for (int i = 0; i < 6; ++i) {
    EXPECT_NEAR(normal(0, i), expected_normal[i], 1e-15) << i;
    EXPECT_NEAR(neox(0, i), expected_neox[i], 1e-15) << i;
  }
}

TEST(Reference, FactorsDivideAngles) {
  Matrix<double> x(1, 4);
  x << 1, 0, 1, 0;
  rope<double>(RopePairs::normal, x, 2, 4, 16, {1, 8});  // angles 2 and 2 / 4 / 8
  const double expected[] = {std::cos(2.0), std::sin(2.0), std::cos(0.0625), std::sin(0.0625)};
  for (int i = 0; i < 4; ++i) EXPECT_NEAR(x(0, i), expected[i], 1e-15) << i;
}

TEST(Reference, BiasIsAdded) {
  EXPECT_EQ(bias<double>(vector_of({1, -2}), vector_of({0.5, 4})), vector_of({1.5, 2}));
}

TEST(Reference, AdvanceFollowsThePromptThenTheChoice) {
  EXPECT_EQ(advance(0, 9, {5, 6}).token, 6);
  EXPECT_EQ(advance(0, 9, {5, 6}).position, 1);
  EXPECT_EQ(advance(1, 9, {5, 6}).token, 9);
  EXPECT_EQ(advance(7, 9, {}).token, 9);
}

TEST(Reference, WordsAreSummedByPartAndWrap) {
  EXPECT_EQ(sums_of_words(std::vector<std::uint32_t>{1, 2, 3, 4, 5}, 2),
            (std::vector<std::uint32_t>{3, 7, 5}));
  EXPECT_EQ(sums_of_words(std::vector<std::uint32_t>{0xffffffff, 3}, 2), (std::vector<std::uint32_t>{2}));
}

TEST(Reference, GemvAndOrdersOfSummation) {
  Matrix<float> a(1, 4);
  a << 0x1p24f, 1, 1, 1;
  const Vector<float> ones = Vector<float>::Ones(4);
  EXPECT_EQ(gemv<float>(a, ones, Order::sequential)(0), 0x1p24f);    // each 1 is lost in turn
  EXPECT_EQ(gemv<float>(a, ones, Order::pairwise)(0), 0x1p24f + 2);  // (2^24 + 1) + (1 + 1)
  EXPECT_EQ(gemv<double>(a.cast<double>(), Vector<double>::Ones(4))(0), 0x1p24 + 3);
}

TEST(Reference, AppendRounds) {
  Matrix<double> k(2, 2);
  k << 1 + 0x1p-11, 1 + 0x1.8p-10, 3, 4;
  Cache<double> cache = Cache<double>::Zero(6, 2);
  kv_append<double>(k, 1, cache);
  Cache<double> expected = Cache<double>::Zero(6, 2);
  expected.middleRows(2, 2) << 1, 1 + 0x1p-9, 3, 4;
  EXPECT_EQ(cache, expected);
}

TEST(Reference, AttentionByHand) {
  // One KV head for two heads. Scores of head 0: ln 3 and 0, so 3/4 and 1/4; head 1: q = 0, the mean.
  // Position 2 is behind.
  Matrix<double> q(2, 1);
  q << std::log(3.0) / 2, 0;
  Cache<double> k(3, 1);
  Cache<double> v(3, 1);
  k << 4, 0, 100;
  v << 8, 16, 1000;
  const Matrix<double> y = attention_decode<double>(q, k, v, 1, 1, 0.5);
  EXPECT_NEAR(y(0, 0), 10, 1e-14);
  EXPECT_NEAR(y(1, 0), 12, 1e-14);
}

TEST(Reference, AttentionGroupsHeads) {
  // Four heads on two KV heads at one position: the output is V of KV head 0, 0, 1, 1.
  const Matrix<double> q = Matrix<double>::Ones(4, 2);
  Cache<double> v(2, 2);
  v << 1, 2, 3, 4;
  const Matrix<double> y = attention_decode<double>(q, v, v, 0, 2, 1);
  Matrix<double> expected(4, 2);
  expected << 1, 2, 1, 2, 3, 4, 3, 4;
  EXPECT_EQ(y, expected);
}

TEST(Reference, SwigluByHand) {
  const Vector<double> y = swiglu<double>(vector_of({0, std::log(3.0), -1000}), vector_of({5, 4, 1}));
  EXPECT_EQ(y(0), 0);
  EXPECT_NEAR(y(1), 3 * std::log(3.0), 1e-14);
  EXPECT_EQ(y(2), 0);
}

TEST(Reference, ArgmaxRules) {
  const double nan = std::numeric_limits<double>::quiet_NaN();
  const double infinity = std::numeric_limits<double>::infinity();
  EXPECT_EQ(argmax<double>(vector_of({1, 3, 3, 2})), 1);
  EXPECT_EQ(argmax<double>(vector_of({-3, -2, -4})), 1);
  EXPECT_EQ(argmax<double>(vector_of({-0.0, 0.0})), 0);
  // What is not finite gives its place's complement, the first one's.
  EXPECT_EQ(argmax<double>(vector_of({nan, nan})), ~0);
  EXPECT_EQ(argmax<double>(vector_of({1, nan, 3})), ~1);
  EXPECT_EQ(argmax<double>(vector_of({1, 3, infinity})), ~2);
  EXPECT_EQ(argmax<double>(vector_of({3, -infinity, nan})), ~1);
}

}  // namespace
}  // namespace m40llm::reference
