#include "engine/model/rope_table.hpp"

#include <gtest/gtest.h>
#define XXH_INLINE_ALL
#include <xxhash.h>

#include <cmath>
#include <span>
#include <vector>

#include "engine/error.hpp"
#include "reference/rope_table.hpp"

namespace m40llm {
namespace {

constexpr int kPositions = 131072;

/// |got - true value| in units of the true value's last place as a float.
double error_in_ulps(float got, long double want) {
  const int exponent = std::ilogb(static_cast<double>(want));
  return static_cast<double>(std::fabs(got - want) / std::ldexp(1.0L, std::max(exponent, -126) - 23));
}

void expect_right_everywhere(int n_rotated, double base, int step, std::span<const float> factors = {}) {
  const RopeTable table(n_rotated, base, factors);
  double worst = 0;
  for (int position = 0; position < kPositions; position += step) {
    const std::vector<float2> row = table.row(position);
    for (int i = 0; i < n_rotated / 2; ++i) {
      const double factor = factors.empty() ? 1 : static_cast<double>(factors[static_cast<std::size_t>(i)]);
      const reference::CosineSine want = reference::rope_angle(position, i, n_rotated, base, factor);
      const float2 got = row[static_cast<std::size_t>(i)];
      if (position == 0) {
        EXPECT_EQ(got.x, 1.0f);
        EXPECT_EQ(got.y, 0.0f);
        continue;
      }
      worst = std::max({worst, error_in_ulps(got.x, want.cosine), error_in_ulps(got.y, want.sine)});
    }
  }
  // Half an ulp is rounding to float itself; the rest is what long double knows of an angle of 1e5 whose sine
  // is small.
  EXPECT_LE(worst, 0.6) << n_rotated << " dimensions, base " << base;
}

TEST(RopeTable, EveryPositionOfSmolLm2) { expect_right_everywhere(64, 10000, 1); }
TEST(RopeTable, OtherBasesAndWidths) {
  expect_right_everywhere(128, 500000, 37);
  expect_right_everywhere(2, 10000, 13);
  expect_right_everywhere(80, 10000, 41);
  expect_right_everywhere(96, 1e6, 43);
  expect_right_everywhere(20, 1, 1009);
}

TEST(RopeTable, DividesByTheFactors) {
  expect_right_everywhere(10, 500000, 37, std::vector{1.f, 1.1f, 3.7f, 8.f, 32.f});
}

TEST(RopeTable, RowsAreTheRows) {
  const RopeTable table(8, 10000);
  const std::vector<float2> all = table.rows(50);
  ASSERT_EQ(all.size(), 200U);
  for (int position = 0; position < 50; ++position) {
    const std::vector<float2> row = table.row(position);
    for (std::size_t i = 0; i < 4; ++i) {
      EXPECT_EQ(all[static_cast<std::size_t>(position) * 4 + i].x, row[i].x);
      EXPECT_EQ(all[static_cast<std::size_t>(position) * 4 + i].y, row[i].y);
    }
  }
}

TEST(RopeTable, TheSameBitsOnEverySystem) {
  const std::vector<float2> rows = RopeTable(64, 10000).rows(4096);
  EXPECT_EQ(XXH3_64bits(rows.data(), rows.size() * sizeof(float2)), 16408145774430076813u);
}

TEST(RopeTable, RefusesWhatHasNoAngles) {
  EXPECT_THROW(RopeTable(0, 10000), Error);
  EXPECT_THROW(RopeTable(7, 10000), Error);
  EXPECT_THROW(RopeTable(5000, 10000), Error);
  EXPECT_THROW(RopeTable(64, 0.5), Error);
  EXPECT_THROW(RopeTable(64, std::nan("")), Error);
  EXPECT_THROW(RopeTable(64, HUGE_VAL), Error);
  for (const float factor : {0.f, -2.f, HUGE_VALF, std::nanf(""), 0.5f})
    EXPECT_THROW(RopeTable(4, 10000, std::vector{factor, 1.f}), Error) << factor;
  EXPECT_THROW(RopeTable(4, 10000, std::vector{1.f}), Error);
  EXPECT_THROW(RopeTable(64, 10000).row(-1), Error);
  EXPECT_THROW(RopeTable(64, 10000).row((1 << 22) + 1), Error);
  EXPECT_THROW(RopeTable(64, 10000).rows(-1), Error);
}

}  // namespace
}  // namespace m40llm
