#include "bench/gates.hpp"

#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <functional>
#include <limits>

#include "bench/random.hpp"
#include "bench/weights.hpp"
#include "reference/ops.hpp"

// The gates are tested by results computed here in float: honest ones in several orders must pass, and ones
// with a planted fault must fail as often as the gates' simulations say.
namespace m40llm::bench {
namespace {

using Floats = std::vector<float>;

/// A row's weights and x as floats, and an order of summation or a fault.
using Dot = std::function<float(const Floats& a, const Floats& x)>;

float sequential(const Floats& a, const Floats& x) {
  float sum = 0;
  for (std::size_t i = 0; i < a.size(); ++i) sum += a[i] * x[i];
  return sum;
}
float sequential_fma(const Floats& a, const Floats& x) {
  float sum = 0;
  for (std::size_t i = 0; i < a.size(); ++i) sum = std::fma(a[i], x[i], sum);
  return sum;
}
float reversed_fma(const Floats& a, const Floats& x) {
  float sum = 0;
  for (std::size_t i = a.size(); i-- > 0;) sum = std::fma(a[i], x[i], sum);
  return sum;
}
/// As a warp does: 32 lanes with strided elements, then pairs.
float lanes_fma(const Floats& a, const Floats& x) {
  float lane[32] = {};
  for (std::size_t i = 0; i < a.size(); ++i) lane[i % 32] = std::fma(a[i], x[i], lane[i % 32]);
  for (std::size_t half = 16; half > 0; half /= 2) {
    for (std::size_t i = 0; i < half; ++i) lane[i] += lane[i + half];
  }
  return lane[0];
}
int lanes_chain(std::size_t k) { return static_cast<int>((k + 31) / 32) + 5; }
int sequential_chain(std::size_t k) { return static_cast<int>(k) + 16; }

float drop_last(Floats a, const Floats& x) {
  a.back() = 0;
  return lanes_fma(a, x);
}
float neighbour_element(const Floats& a, Floats x) {
  x[x.size() / 2] = x[x.size() / 2 - 1];
  return lanes_fma(a, x);
}
float cut_to_tf32(float value) {  // 10 bits of fraction, to nearest
  return std::bit_cast<float>((std::bit_cast<std::uint32_t>(value) + 0x1000u) & 0xffffe000u);
}
float tf32_inputs(Floats a, Floats x) {
  for (float& value : a) value = cut_to_tf32(value);
  for (float& value : x) value = cut_to_tf32(value);
  return lanes_fma(a, x);
}
float half_inputs(const Floats& a, Floats x) {
  for (float& value : x) value = reference::round_to_half(value);
  return lanes_fma(a, x);
}
float half_sums(const Floats& a, const Floats& x) {
  float lane[32] = {};
  for (std::size_t i = 0; i < a.size(); ++i) {
    lane[i % 32] = reference::round_to_half(std::fma(a[i], x[i], lane[i % 32]));
  }
  for (std::size_t half = 16; half > 0; half /= 2) {
    for (std::size_t i = 0; i < half; ++i) lane[i] = reference::round_to_half(lane[i] + lane[i + half]);
  }
  return lane[0];
}

struct Judged {
  double worst = 0;   ///< the largest error over bound
  double caught = 0;  ///< share of elements beyond their bound
};

/// `rows` products of one class, each made by `dot` and judged element by element.
Judged judge_products(const char* inputs, std::size_t rows, std::size_t k, int chain, const Dot& dot,
                      Format format = Format::f32) {
  const ProductInputs made = make_product_inputs(inputs, format, rows, k, 7);
  Judged judged;
  for (std::size_t row = 0; row < rows; ++row) {
    Product product;
    Floats a;
    reference::for_each_weight(in_reference(format), made.a.row(row),
                               [&](std::size_t i, const reference::Weight& w) {
                                 product.add(w.value(), w.expanded_magnitude(), made.x[i]);
                                 a.push_back(static_cast<float>(w.value()));
                               });
    Expected<float> expected{{product.value}, {}};
    if (inputs[0] == 'R') expected.bound = {random_bound(product, chain)};
    if (inputs[0] == 'S') expected.bound = {structured_bound(product, chain)};
    Verdict verdict = nothing_judged();
    const float y = dot(a, made.x);
    judge<float>(std::span(&y, 1), expected, verdict);
    judged.worst = std::max(judged.worst, verdict.error_over_bound);
    if (!verdict.passed) judged.caught += 1;
  }
  judged.caught /= static_cast<double>(rows);
  return judged;
}

const std::pair<const char*, std::pair<Dot, int (*)(std::size_t)>> kHonest[] = {
    {"sequential", {sequential, sequential_chain}},
    {"sequential fma", {sequential_fma, sequential_chain}},
    {"reversed fma", {reversed_fma, sequential_chain}},
    {"lanes", {lanes_fma, lanes_chain}},
};

TEST(GateE, HonestSumsOfAnyOrderAreExact) {
  for (const char* inputs : {"E", "E2"}) {
    for (const FormatTraits& row : kFormats) {
      const Format format = row.format;
      for (const std::size_t few_or_many : {32U, 1056U, 11008U}) {
        const auto block = static_cast<std::size_t>(traits(format).block);
        const std::size_t k = (few_or_many + block - 1) / block * block;
        for (const auto& [name, honest] : kHonest) {
          EXPECT_EQ(judge_products(inputs, 20, k, 1, honest.first, format).worst, 0)
              << inputs << " " << name << " " << k;
        }
      }
    }
  }
}

TEST(GateE, CatchesPlantedFaults) {
  EXPECT_EQ(judge_products("E", 500, 11008, 1, drop_last).caught, 1);
  EXPECT_GE(judge_products("E", 500, 11008, 1, half_sums).caught, 0.99);
  EXPECT_GE(judge_products("E", 500, 11008, 1, neighbour_element).caught,
            0.9);  // 1 in 20 neighbours is equal
  // An odd number of odd errors is never zero.
  for (const std::size_t k : {32U, 576U, 11008U}) {
    EXPECT_EQ(judge_products("E2", 500, k, 1, tf32_inputs).caught, 1) << k;
    EXPECT_EQ(judge_products("E2", 500, k, 1, half_inputs).caught, 1) << k;
  }
  EXPECT_GE(judge_products("E2", 500, 11008, 1, half_sums).caught, 0.999);
}

TEST(GateR, HonestSumsPassWithRoom) {
  for (const std::size_t k : {1U, 33U, 576U, 11008U}) {
    for (const auto& [name, honest] : kHonest) {
      // 2.36 of the 4 was the largest seen in 1e8 elements.
      EXPECT_LE(judge_products("R", 300, k, honest.second(k), honest.first).worst, 2.5 / 4)
          << name << " " << k;
    }
  }
}

TEST(GateR, CatchesPlantedFaultsAtEleventhousandTerms) {
  const int chain = lanes_chain(11008);
  EXPECT_GE(judge_products("R", 500, 11008, chain, drop_last).caught, 0.99);
  EXPECT_GE(judge_products("R", 500, 11008, chain, half_sums).caught, 0.99);
  EXPECT_GE(judge_products("R", 500, 11008, chain, tf32_inputs).caught, 0.96);
}

TEST(GateS, HonestSumsPass) {
  for (const char* inputs : {"S-constant", "S-outlier", "S-cancel", "S-denormal"}) {
    for (const std::size_t k : {32U, 2048U, 11008U}) {
      for (const auto& [name, honest] : kHonest) {
        EXPECT_LE(judge_products(inputs, 50, k, honest.second(k), honest.first).worst, 1)
            << inputs << " " << name << " " << k;
      }
    }
  }
}

TEST(GateR, WouldRejectConstantRows) {
  // Why S is there: roundings of one sign add up beyond a bound for random ones.
  const ProductInputs made = make_product_inputs("S-constant", Format::f32, 1, 11008, 7);
  Product product;
  Floats a;
  reference::for_each_weight(in_reference(made.a.format), made.a.blocks,
                             [&](std::size_t i, const reference::Weight& w) {
                               product.add(w.value(), w.value(), made.x[i]);
                               a.push_back(static_cast<float>(w.value()));
                             });
  const double error = std::fabs(sequential(a, made.x) - product.value);
  EXPECT_GT(error, random_bound(product, 11008 + 16));
  EXPECT_LT(error, structured_bound(product, 11008 + 16));
}

TEST(Products, BoundsByHand) {
  Product product;
  product.add(3, 5, -1);
  product.add(4, 4, 1);
  EXPECT_EQ(product.value, 1);
  EXPECT_EQ(product.magnitude, 9);
  EXPECT_EQ(product.sum_squares, 25);
  const double u = 0x1p-24;
  EXPECT_DOUBLE_EQ(random_bound(product, 9), 12 * u * std::sqrt(26.0) + 2 * 0x1p-149);
  EXPECT_DOUBLE_EQ(structured_bound(product, 9), 81 * u / (1 - 9 * u));
  EXPECT_DOUBLE_EQ(random_bound(product, 9, Stored::f16), 12 * u * std::sqrt(26.0) + 0x1p-11 + 0x1p-25);
  EXPECT_DOUBLE_EQ(structured_bound({}, 9), 0);
}

// --- attention ---

struct Attention {
  Floats q;
  std::vector<double> k, v;
  float scale;
};

Attention normal_attention(int context, int head_dim) {
  Random random(11, 1);
  const auto h = static_cast<std::size_t>(head_dim);
  const auto half_value = [&] { return reference::round_to_half<double>(random.normal()); };
  Attention made{{}, {}, {}, 1 / std::sqrt(static_cast<float>(head_dim))};
  for (std::size_t i = 0; i < h; ++i) made.q.push_back(random.normal());
  for (std::size_t i = 0; i < h * static_cast<std::size_t>(context); ++i) {
    made.k.push_back(half_value());
    made.v.push_back(half_value());
  }
  return made;
}

enum class AttentionFault {
  none,
  half_probabilities,
  half_scores,
  half_output,
  dropped_position,
  no_maximum
};

/// One head in float with an online softmax: a rescale wherever the maximum grows.
Floats attend(const Attention& in, AttentionFault fault) {
  const std::size_t head_dim = in.q.size();
  const std::size_t n = in.k.size() / head_dim - (fault == AttentionFault::dropped_position ? 1 : 0);
  float best = fault == AttentionFault::no_maximum ? 0 : -std::numeric_limits<float>::infinity();
  float total = 0;
  Floats y(head_dim, 0);
  for (std::size_t j = 0; j < n; ++j) {
    float score = 0;
    for (std::size_t i = 0; i < head_dim; ++i)
      score = std::fma(in.q[i], static_cast<float>(in.k[j * head_dim + i]), score);
    score *= in.scale;
    if (fault == AttentionFault::half_scores) score = reference::round_to_half(score);
    const float now = fault == AttentionFault::no_maximum ? 0 : std::max(best, score);
    const float keep = std::exp(best - now);
    float p = std::exp(score - now);
    if (fault == AttentionFault::half_probabilities) p = reference::round_to_half(p);
    best = now;
    total = std::fma(total, keep, p);
    for (std::size_t i = 0; i < head_dim; ++i)
      y[i] = std::fma(p, static_cast<float>(in.v[j * head_dim + i]), y[i] * keep);
  }
  for (float& value : y) {
    value /= total;
    if (fault == AttentionFault::half_output) value = reference::round_to_half(value);
  }
  return y;
}

Verdict judge_attention(const Attention& in, AttentionFault fault) {
  const auto n = static_cast<int>(in.k.size() / in.q.size());
  const AttentionExpected expected = attention_expected(in.q, in.k, in.v, in.scale, n + 16);
  Verdict verdict = nothing_judged();
  const Floats y = attend(in, fault);
  judge<float>(y, {expected.y, expected.bound}, verdict);
  return verdict;
}

TEST(AttentionGate, HonestPassesWithRoom) {
  for (const int context : {1, 2, 33, 128, 1000, 4096}) {
    for (const int head_dim : {64, 128}) {
      const Verdict verdict = judge_attention(normal_attention(context, head_dim), AttentionFault::none);
      EXPECT_LE(verdict.error_over_bound, 0.3) << context << " " << head_dim;
    }
  }
}

TEST(AttentionGate, CatchesHalfPrecision) {
  for (const int context : {128, 1000, 4096}) {
    for (const auto fault :
         {AttentionFault::half_probabilities, AttentionFault::half_scores, AttentionFault::half_output}) {
      EXPECT_FALSE(judge_attention(normal_attention(context, 64), fault).passed) << context;
    }
  }
}

TEST(AttentionGate, CatchesAMissingMaximum) {
  Attention in = normal_attention(64, 64);
  for (float& value : in.q) value *= 200;
  EXPECT_TRUE(judge_attention(in, AttentionFault::none).passed);
  EXPECT_FALSE(judge_attention(in, AttentionFault::no_maximum).passed);
}

TEST(AttentionGate, ADroppedPositionMovesTheMeanOfIntegers) {
  for (const int context : {2, 33, 1000, 4096, 32768}) {
    Attention in = normal_attention(context, 8);
    Random random(3, 3);
    std::fill(in.q.begin(), in.q.end(), 0.0f);
    for (double& value : in.v) value = random.sign() * random.between(1, 7);
    for (const auto fault : {AttentionFault::none, AttentionFault::dropped_position}) {
      const Floats y = attend(in, fault);
      for (std::size_t i = 0; i < 8; ++i) {
        double mean = 0;
        for (std::size_t j = i; j < in.v.size(); j += 8) mean += in.v[j];
        mean /= context;
        Verdict verdict = nothing_judged();
        judge<float>(std::span(&y[i], 1), {{mean}, {ulp(mean)}}, verdict);
        EXPECT_EQ(verdict.passed, fault == AttentionFault::none) << context << " " << i;
      }
    }
  }
}

// --- small ops ---

TEST(RmsNormGate, HonestPassesAndFaultsFail) {
  constexpr std::size_t kWidth = 576;
  Random random(1, 1);
  Floats x(kWidth);
  for (float& value : x) value = 3.2e-3f * random.normal();
  const auto run = [&](float eps, std::size_t divide_by) {
    const double sum =
        reference::Vector<double>(Eigen::Map<const reference::Vector<float>>(x.data(), kWidth).cast<double>())
            .squaredNorm();
    const double factor = 1 / std::sqrt(sum / kWidth + 1e-5f);
    const float got_factor = 1 / std::sqrt(sequential_fma(x, x) / static_cast<float>(divide_by) + eps);
    Expected<float> expected;
    Floats y;
    for (const float value : x) {
      expected.want.push_back(value * factor);
      expected.bound.push_back(rms_norm_bound(value * factor, static_cast<int>(kWidth)));
      y.push_back(value * got_factor);
    }
    Verdict verdict = nothing_judged();
    judge<float>(y, expected, verdict);
    return verdict;
  };
  EXPECT_TRUE(run(1e-5f, kWidth).passed);
  EXPECT_FALSE(run(1e-6f, kWidth).passed);
  EXPECT_FALSE(run(1e-5f, kWidth - 1).passed);
}

TEST(SwigluGate, NeedsAnExpThatDoesNotOverflow) {
  const auto judge_one = [](float gate, float up, float got) {
    const double want = gate / (1 + std::exp(-static_cast<double>(gate))) * up;
    Verdict verdict = nothing_judged();
    judge<float>(std::span(&got, 1), {{want}, {swiglu_bound(want, up)}}, verdict);
    return verdict;
  };
  const auto plain = [](float gate, float up) { return gate / (1 + std::exp(-gate)) * up; };
  const auto of_magnitude = [](float gate, float up) {
    const float e = std::exp(-std::fabs(gate));
    return gate * ((gate < 0 ? e : 1) / (1 + e)) * up;
  };
  Random random(1, 1);
  for (int i = 0; i < 20000; ++i) {
    const float gate = 256 * (random.uniform() - 0.5f);
    const float up = random.normal();
    EXPECT_TRUE(judge_one(gate, up, of_magnitude(gate, up)).passed) << gate << " " << up;
    if (gate > -87) {
      EXPECT_TRUE(judge_one(gate, up, plain(gate, up)).passed) << gate << " " << up;
    }
  }
  EXPECT_FALSE(judge_one(-90, 1, plain(-90, 1)).passed);
  EXPECT_FALSE(judge_one(1, 1, plain(1, 1) * (1 + 0x1p-19f)).passed);
}

TEST(RopeGate, CatchesAnglesInFloat) {
  const int position = 131071;
  double worst_float = 0;
  double worst_double = 0;
  for (int i = 1; i < 32; ++i) {
    const reference::CosineSine exact = reference::rope_angle(position, i, 64, 10000);
    const float frequency = std::pow(10000.0f, static_cast<float>(-2 * i) / 64);
    const float angle = frequency * static_cast<float>(position);
    const double want = static_cast<double>(exact.cosine - exact.sine);  // of the pair (1, 1)
    const double bound = rope_bound(1, 1);
    worst_float = std::max(worst_float, std::fabs(std::cos(angle) - std::sin(angle) - want) / bound);
    const float cosine = static_cast<float>(exact.cosine);
    const float sine = static_cast<float>(exact.sine);
    worst_double = std::max(worst_double, std::fabs(cosine - sine - want) / bound);
  }
  EXPECT_LE(worst_double, 1);
  EXPECT_GT(worst_float, 1000);
}

// --- the judge ---

template <class T>
Verdict judge_one(T got, double want, std::vector<double> bound = {}) {
  Verdict verdict = nothing_judged();
  judge<T>(std::span<const T>(&got, 1), {{want}, std::move(bound)}, verdict);
  return verdict;
}
constexpr double kInfinity = std::numeric_limits<double>::infinity();
constexpr float kNan = std::numeric_limits<float>::quiet_NaN();

TEST(Judge, ReportsTheLargestErrorAndWhere) {
  const Floats got{1, 2, 3.5f, 4.25f};
  Verdict verdict = nothing_judged();
  judge<float>(got, {{1, 2, 3, 4}, {1, 1, 1, 1}}, verdict);
  EXPECT_TRUE(verdict.passed);
  EXPECT_EQ(verdict.error_over_bound, 0.5);
  EXPECT_EQ(verdict.worst, 2U);
  EXPECT_EQ(verdict.got, 3.5);
  EXPECT_EQ(verdict.want, 3);
  judge<float>(got, {{1, 2, 3.5, 1}, {1, 1, 1, 1}}, verdict);
  EXPECT_FALSE(verdict.passed);
  EXPECT_EQ(verdict.n_outputs, 8U);
  EXPECT_EQ(verdict.worst, 7U);
  EXPECT_EQ(verdict.error_over_bound, 3.25);
}

TEST(Judge, NanPoisonAndInfinityFail) {
  EXPECT_EQ(judge_one(kNan, 0, {1e9}).error_over_bound, kInfinity);
  EXPECT_FALSE(judge_one(kNan, 0, {1e9}).passed);
  EXPECT_FALSE(judge_one(poison<float>(), 0, {1e9}).passed);
  EXPECT_FALSE(judge_one(poison<float>(), kNan).passed);
  EXPECT_FALSE(judge_one(poison<half>(), kNan).passed);
  EXPECT_FALSE(judge_one(poison<int>(), poison<int>()).passed);
  EXPECT_FALSE(judge_one(static_cast<float>(kInfinity), 1, {1e9}).passed);
  EXPECT_FALSE(judge_one(1.0f, 1, {static_cast<double>(kNan)}).passed);
  EXPECT_FALSE(judge_one(1.0f, kInfinity, {kInfinity}).passed);
}

TEST(Judge, ExactMeansTheBits) {
  EXPECT_TRUE(judge_one(0.1f, 0.1).passed);
  EXPECT_FALSE(judge_one(std::nextafter(0.1f, 1.0f), 0.1).passed);
  EXPECT_FALSE(judge_one(0.0f, -0.0).passed);
  EXPECT_TRUE(judge_one(-0.0f, -0.0).passed);
  EXPECT_TRUE(judge_one(0.0f, -0.0, {0.0}).passed);  // a bound of zero compares values
  EXPECT_FALSE(judge_one(1e-45f, 0, {0.0}).passed);
  EXPECT_TRUE(judge_one(kNan, kNan).passed);
  EXPECT_TRUE(judge_one(half{0x7fff}, kNan).passed);
  EXPECT_TRUE(judge_one(half{0x3c00}, 1 + 0x1p-11).passed);
  EXPECT_FALSE(judge_one(half{0x3c01}, 1 + 0x1p-11).passed);
  EXPECT_TRUE(judge_one(7, 7).passed);
  EXPECT_FALSE(judge_one(8, 7).passed);
}

TEST(Judge, WhatIsNotFiniteIsJudgedByItsClass) {
  const auto infinity = static_cast<float>(kInfinity);
  EXPECT_TRUE(judge_one(kNan, kNan, {0.0}).passed);  // a bound: this NaN is meant
  EXPECT_TRUE(judge_one(std::bit_cast<float>(0xffc12345u), kNan, {0.0}).passed);
  EXPECT_FALSE(judge_one(kNan, kNan, {static_cast<double>(kNan)}).passed);
  EXPECT_FALSE(judge_one(poison<float>(), kNan, {0.0}).passed);
  EXPECT_FALSE(judge_one(infinity, kNan, {0.0}).passed);
  EXPECT_FALSE(judge_one(0.0f, kNan, {0.0}).passed);
  EXPECT_TRUE(judge_one(infinity, kInfinity, {0.0}).passed);
  EXPECT_FALSE(judge_one(-infinity, kInfinity, {0.0}).passed);
  EXPECT_FALSE(judge_one(kNan, kInfinity, {0.0}).passed);
  EXPECT_FALSE(judge_one(std::numeric_limits<float>::max(), kInfinity, {0.0}).passed);
  // Conversions to half make one NaN of all.
  EXPECT_TRUE(judge_one(half{0x7fff}, kNan).passed);
  EXPECT_FALSE(judge_one(half{0x7e00}, kNan).passed);
  EXPECT_FALSE(judge_one(half{0xffff}, kNan).passed);
  EXPECT_EQ(bound_if_finite(2, 0.5), 0.5);
  EXPECT_EQ(bound_if_finite(kInfinity, kInfinity), 0);
  EXPECT_EQ(bound_if_finite(kNan, kNan), 0);
}

TEST(Judge, HashesEveryNanOfFloatAlike) {
  EXPECT_EQ(std::bit_cast<std::uint32_t>(hashed(std::bit_cast<float>(0xffc12345u))), 0x7fc00000u);
  EXPECT_EQ(std::bit_cast<std::uint32_t>(hashed(-0.0f)), 0x80000000u);
  EXPECT_EQ(hashed(half{0xfe01}).bits, 0xfe01);
}

TEST(Judge, LengthsMustAgree) {
  const Floats got{1, 2};
  Verdict verdict = nothing_judged();
  EXPECT_THROW(judge<float>(got, {{1}, {}}, verdict), std::invalid_argument);
  EXPECT_THROW(judge<float>(got, {{1, 2}, {1}}, verdict), std::invalid_argument);
}

TEST(Judge, HashesTheBits) {
  const auto hash = [](const Floats& values) {
    OutputHash hash;
    hash.add(std::as_bytes(std::span(values)));
    return hash.value();
  };
  EXPECT_EQ(hash({1, 2}), hash({1, 2}));
  EXPECT_NE(hash({0.0f}), hash({-0.0f}));
  OutputHash empty;
  EXPECT_EQ(empty.value(),
            0x2d06800538d394c2u);  // XXH3-64 of nothing, as its specification's test vectors say
}

}  // namespace
}  // namespace m40llm::bench
