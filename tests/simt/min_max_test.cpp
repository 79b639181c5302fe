// min_of and max_of of the language of kernels, held against their rule: of a NaN and a number the number, of two
// NaNs a NaN, and -0 < +0. On a GPU they are the instructions of PTX with that rule.
#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <limits>
#include <random>
#include <type_traits>

#include "kernels/device.cuh"

namespace {

constexpr float kSpecial[] = {0.0f,
                              -0.0f,
                              1e-45f,
                              -1e-45f,
                              1.0f,
                              -1.0f,
                              3e38f,
                              -3e38f,
                              std::numeric_limits<float>::infinity(),
                              -std::numeric_limits<float>::infinity()};

/// A place in the order of all floats that are no NaN, -0 before +0 (IEEE 754-2019, totalOrder).
int place(float x) {
  const int bits = std::bit_cast<int>(x);
  return bits >= 0 ? bits : std::numeric_limits<int>::min() - bits - 1;
}

void expect_ordered(float a, float b) {
  const float low = place(a) < place(b) ? a : b;
  const float high = place(a) < place(b) ? b : a;
  EXPECT_EQ(std::bit_cast<unsigned>(min_of(a, b)), std::bit_cast<unsigned>(low)) << a << " " << b;
  EXPECT_EQ(std::bit_cast<unsigned>(max_of(a, b)), std::bit_cast<unsigned>(high)) << a << " " << b;
}

TEST(MinMax, TheOrderOfTheTestIsTheFloats) {
  EXPECT_LT(place(-0.0f), place(0.0f));
  EXPECT_LT(place(-1.0f), place(-0.0f));
  EXPECT_LT(place(-2.0f), place(-1.0f));
  EXPECT_LT(place(1.0f), place(2.0f));
}

TEST(MinMax, NumbersAndSignedZeros) {
  for (const float a : kSpecial) {
    for (const float b : kSpecial) expect_ordered(a, b);
  }
  std::mt19937 random(1);
  for (int i = 0; i < 100000; ++i) {
    const float a = std::bit_cast<float>(static_cast<unsigned>(random()));
    const float b = std::bit_cast<float>(static_cast<unsigned>(random()));
    if (!std::isnan(a) && !std::isnan(b)) expect_ordered(a, b);
  }
}

TEST(MinMax, ANumberWinsOverNaN) {
  for (const unsigned bits : {0x7fc00000u, 0xffc00000u, 0x7f800001u, 0xff800001u, 0x7fffffffu}) {
    const float nan = std::bit_cast<float>(bits);
    for (const float x : kSpecial) {
      for (const float result : {min_of(nan, x), min_of(x, nan), max_of(nan, x), max_of(x, nan)})
        EXPECT_EQ(std::bit_cast<unsigned>(result), std::bit_cast<unsigned>(x)) << x;
    }
    EXPECT_TRUE(std::isnan(min_of(nan, nan)));
    EXPECT_TRUE(std::isnan(max_of(nan, nan)));
  }
}

TEST(MinMax, Integers) {
  EXPECT_EQ(min_of(-1, 1), -1);
  EXPECT_EQ(max_of(-1, 1), 1);
  EXPECT_EQ(min_of(0xffffffffu, 1u), 1u);
  EXPECT_EQ(max_of(0xffffffffu, 1u), 0xffffffffu);
  static_assert(std::is_same_v<decltype(min_of(1, 2)), int> &&
                std::is_same_v<decltype(max_of(1u, 2u)), unsigned>);
}

}  // namespace
