#include "bench/statistics.hpp"

#include <gtest/gtest.h>

namespace m40llm::bench {
namespace {

TEST(Statistics, QuartilesInterpolateLikeNumpy) {
  const Spread s = spread({4, 1, 3, 2});  // numpy.percentile([1, 2, 3, 4], [25, 50, 75]) = 1.75, 2.5, 3.25
  EXPECT_DOUBLE_EQ(s.p25, 1.75);
  EXPECT_DOUBLE_EQ(s.median, 2.5);
  EXPECT_DOUBLE_EQ(s.p75, 3.25);
  EXPECT_DOUBLE_EQ(s.min, 1);
  EXPECT_DOUBLE_EQ(s.max, 4);
}

TEST(Statistics, OneSampleIsAllOfThem) {
  const Spread s = spread({7.5});
  EXPECT_DOUBLE_EQ(s.median, 7.5);
  EXPECT_DOUBLE_EQ(s.p25, 7.5);
  EXPECT_DOUBLE_EQ(s.max, 7.5);
}

}  // namespace
}  // namespace m40llm::bench
