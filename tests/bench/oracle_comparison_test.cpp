#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "bench/oracle.hpp"

namespace m40llm::bench {
namespace {

constexpr double kLimit = 0.05;
/// A difference that the limit allows and the first step does not.
constexpr float kLater = 0.04f;
constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
constexpr float kInfinity = std::numeric_limits<float>::infinity();

/// Of four logits the oracle kept those of 1 and 2; the choice between them is `margin` wide.
/// The oracle's own logits were -9, margin, 0, -9.
OracleStep step(float margin = 5) {
  return {{1, 2}, {margin, 0}, std::log(2 * std::exp(-9.0) + std::exp(static_cast<double>(margin)) + 1)};
}

OracleComparison compared(const std::vector<float>& logits, float margin = 5) {
  OracleComparison comparison;
  comparison.add(step(margin), logits, kLimit);
  return comparison;
}

TEST(OracleComparison, PassesWithinTheLimit) {
  OracleComparison comparison = compared({-9, 5, 0, -9});
  comparison.add(step(), std::vector<float>{-9, 5 + kLater, -kLater, -9}, kLimit);
  EXPECT_TRUE(comparison.passed(kLimit));
  comparison.add(step(), std::vector<float>{-9, 5.06f, 0, -9}, kLimit);
  EXPECT_FALSE(comparison.passed(kLimit));
  EXPECT_FALSE(compared({9, 5, 0, -9}).passed(kLimit));  // another choice
}

TEST(OracleComparison, TheFirstStepHasALimitOfItsOwn) {
  EXPECT_TRUE(compared({-9, 5.0004f, 0, -9}).passed(kLimit));
  EXPECT_FALSE(compared({-9, 5 + kLater, 0, -9}).passed(kLimit));
}

TEST(OracleComparison, LogitsBeyondTheOraclesLargestCountInTheirSum) {
  EXPECT_FALSE(compared({-9, 5, 0, 4.9f}).passed(kLimit));
}

TEST(OracleComparison, OfNoStepsNothingPassed) { EXPECT_FALSE(OracleComparison().passed(kLimit)); }

TEST(OracleComparison, WhatIsNotFiniteFailsWhereverItStands) {
  for (const float value : {kNan, -kNan, kInfinity, -kInfinity}) {
    for (std::size_t place = 0; place < 4; ++place) {
      for (const float margin : {5.f, 0.01f}) {  // the latter undecidable
        std::vector<float> logits{-9, margin, 0, -9};
        ASSERT_TRUE(compared(logits, margin).passed(kLimit));
        logits[place] = value;
        EXPECT_FALSE(compared(logits, margin).passed(kLimit)) << value << " at " << place;
      }
    }
  }
}

TEST(OracleComparison, AGoodStepDoesNotMakeUpForABadOne) {
  OracleComparison comparison;
  comparison.add(step(), std::vector<float>{-9, 5, 0, kNan}, kLimit);
  comparison.add(step(), std::vector<float>{-9, 5, 0, -9}, kLimit);
  EXPECT_FALSE(comparison.passed(kLimit));
}

}  // namespace
}  // namespace m40llm::bench
