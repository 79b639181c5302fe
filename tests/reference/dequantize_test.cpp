#include "reference/dequantize.hpp"

#include <gtest/gtest.h>

#include <bit>
#include <limits>
#include <vector>

namespace m40llm::reference {
namespace {

template <std::size_t N>
std::vector<std::byte> bytes_of(const unsigned char (&values)[N]) {
  const auto bytes = std::as_bytes(std::span(values));
  return {bytes.begin(), bytes.end()};
}

std::vector<double> values_of(Format format, std::span<const std::byte> blocks) {
  std::vector<double> values(blocks.size() / block_bytes(format) * block_elements(format));
  dequantize<double>(format, blocks, values);
  return values;
}

// Random blocks and what `gguf` 0.19.0 (PyPI), quants.dequantize, makes of them.
constexpr unsigned char kQ8_0[] = {0xc0, 0xa8, 0xe5, 0xf1, 0xa9, 0x41, 0x06, 0xa0, 0x95, 0x6a, 0x26, 0xaf,
                                   0xbc, 0xcd, 0xaf, 0xe5, 0x62, 0xf9, 0x0a, 0x94, 0x5f, 0x56, 0x93, 0xc6,
                                   0x42, 0x27, 0x6a, 0xd5, 0xab, 0x2d, 0xa7, 0x39, 0x45, 0x51};
constexpr double kQ8_0Values[] = {
    0x1.008p+0,  0x1.1dp-1,  0x1.9d4p+1,  -0x1.34cp+1, -0x1.c8p-3, 0x1.c8p+1,   0x1.fc4p+1,  -0x1.f78p+1,
    -0x1.69p+0,  0x1.80cp+1, 0x1.43p+1,   0x1.e48p+0,  0x1.80cp+1, 0x1.008p+0,  -0x1.d18p+1, 0x1.0ap-2,
    -0x1.7cp-2,  0x1.008p+2, -0x1.c34p+1, -0x1.988p+1, 0x1.02ep+2, 0x1.138p+1,  -0x1.398p+1, -0x1.728p+0,
    -0x1.f78p+1, 0x1.988p+0, 0x1.93cp+1,  -0x1.ab8p+0, 0x1.a6cp+1, -0x1.0ecp+1, -0x1.47cp+1, -0x1.80cp+1};
constexpr unsigned char kQ4_1[] = {0xc0, 0xa8, 0x04, 0x34, 0x34, 0x27, 0xfa, 0x48, 0xd7, 0x32,
                                   0xa1, 0xdf, 0x70, 0xac, 0xa1, 0xe9, 0x26, 0x11, 0x59, 0x01};
constexpr double kQ4_1Values[] = {
    0x1.a4p-4, -0x1.2p-7,  -0x1.ecp-4, -0x1.78p-5, -0x1.2p-7,  0x1.6ap-3, 0x1.b6p-3,  -0x1.39p-2,
    0x1.01p-2, -0x1.8ep-3, 0x1.b6p-3,  -0x1.54p-4, 0x1.dp-6,   0x1.b6p-3, -0x1.54p-4, 0x1.b6p-3,
    0x1.1ep-3, 0x1.6ap-3,  -0x1.39p-2, 0x1.a4p-4,  -0x1.dap-3, 0x1.1ep-3, -0x1.ecp-4, -0x1.dap-3,
    -0x1.2p-7, -0x1.ecp-4, -0x1.ecp-4, -0x1.13p-2, 0x1.6ap-3,  0x1.b6p-3, 0x1.0cp-4,  0x1.01p-2};

constexpr unsigned char kQ4_0[] = {0xc0, 0xa8, 0xbe, 0xcf, 0x93, 0x1a, 0xed, 0x15, 0xf5,
                                   0xd3, 0xef, 0x2d, 0x05, 0x9d, 0x9f, 0x3c, 0x36, 0xec};
constexpr double kQ4_0Values[] = {
    -0x1.c8p-3, -0x1.0ap-2, 0x1.7cp-3, -0x1.3p-4,  -0x1.7cp-3, 0x1.c8p-4, 0x1.c8p-4,  0x1.7cp-3,
    -0x1.0ap-2, -0x1.7cp-3, 0x1.c8p-4, -0x1.7cp-3, -0x1.0ap-2, -0x1.3p-3, 0x1.3p-4,   -0x1.3p-3,
    -0x1.c8p-4, -0x1.3p-3,  -0x1.3p-5, 0x1.0ap-2,  -0x1.c8p-3, 0x1.0ap-2, -0x1.0ap-2, -0x1.7cp-3,
    -0x1.c8p-3, 0x1.c8p-3,  0x1.3p-2,  -0x1.3p-5,  -0x1.3p-5,  0x1.7cp-3, 0x1.7cp-3,  -0x1.c8p-3};

TEST(Dequantize, Q4_0AsGgufDoes) {
  EXPECT_EQ(values_of(Format::q4_0, bytes_of(kQ4_0)),
            std::vector<double>(std::begin(kQ4_0Values), std::end(kQ4_0Values)));
}

TEST(Dequantize, Q8_0AsGgufDoes) {
  EXPECT_EQ(values_of(Format::q8_0, bytes_of(kQ8_0)),
            std::vector<double>(std::begin(kQ8_0Values), std::end(kQ8_0Values)));
}

TEST(Dequantize, Q4_1AsGgufDoes) {
  EXPECT_EQ(values_of(Format::q4_1, bytes_of(kQ4_1)),
            std::vector<double>(std::begin(kQ4_1Values), std::end(kQ4_1Values)));
}

TEST(Dequantize, DenormalScalesCount) {
  std::vector<std::byte> block = bytes_of(kQ8_0);
  block[0] = std::byte{0x05};  // 5 * 2^-24
  block[1] = std::byte{0x00};
  const std::vector<double> values = values_of(Format::q8_0, block);
  EXPECT_EQ(values[0], -0x1.0ep-17);
  EXPECT_EQ(values[1], -0x1.2cp-18);
  EXPECT_EQ(values[2], -0x1.b3p-16);
}

TEST(Dequantize, ZeroKeepsItsSign) {
  unsigned char block[34] = {0x00, 0xbc};  // d = -1
  block[3] = 1;
  const std::vector<double> q8_0 = values_of(Format::q8_0, bytes_of(block));
  EXPECT_TRUE(std::signbit(q8_0[0]));  // -1 times 0
  EXPECT_EQ(q8_0[1], -1);
  const unsigned char halves[] = {0x00, 0x80, 0x00, 0x00};
  const std::vector<double> f16 = values_of(Format::f16, bytes_of(halves));
  EXPECT_TRUE(std::signbit(f16[0]));
  EXPECT_FALSE(std::signbit(f16[1]));
}

TEST(Dequantize, SecondBlockFollowsTheFirst) {
  std::vector<std::byte> two = bytes_of(kQ4_1);
  const std::vector<std::byte> one = two;
  two.insert(two.end(), one.begin(), one.end());
  const std::vector<double> values = values_of(Format::q4_1, two);
  ASSERT_EQ(values.size(), 64U);
  for (std::size_t i = 0; i < 32; ++i) EXPECT_EQ(values[i], values[i + 32]);
}

TEST(Dequantize, ScaleAndOffsetAreKeptApart) {
  for_each_weight(Format::q4_1, bytes_of(kQ4_1), [](std::size_t i, const Weight& w) {
    EXPECT_EQ(w.offset, 0x1.01p-2);
    EXPECT_EQ(w.expanded_magnitude(), std::fabs(kQ4_1Values[i] - 0x1.01p-2) + 0x1.01p-2);
  });
}

TEST(Dequantize, PlainFormats) {
  const float floats[] = {1.5f, -0.0f, 1e-45f, 3e38f};
  EXPECT_EQ(values_of(Format::f32, std::as_bytes(std::span(floats))),
            (std::vector<double>{1.5, -0.0, 0x1p-149, 3e38f}));
  const std::uint16_t halves[] = {0x3c00, 0xc100, 0x7bff, 0x0001, 0x2e66};
  EXPECT_EQ(values_of(Format::f16, std::as_bytes(std::span(halves))),
            (std::vector<double>{1, -2.5, 65504, 0x1p-24, 0x1.998p-4}));
}

TEST(Dequantize, RefusesPartsOfBlocks) {
  std::vector<double> values(32);
  EXPECT_THROW(dequantize<double>(Format::q8_0, std::vector<std::byte>(33), values), std::invalid_argument);
  EXPECT_THROW(dequantize<double>(Format::q8_0, std::vector<std::byte>(68), values), std::invalid_argument);
}

TEST(Half, EveryValueComesBack) {
  for (unsigned bits = 0; bits < 0x10000; ++bits) {
    const double value = half_to_double(static_cast<std::uint16_t>(bits));
    if ((bits & 0x7fff) > 0x7c00) {
      EXPECT_TRUE(std::isnan(value));
      EXPECT_EQ(double_to_half(value), (bits & 0x8000) | 0x7e00);
    } else {
      EXPECT_EQ(double_to_half(value), bits);
    }
  }
}

TEST(Half, NeighboursAreOrderedAndEvenlySpaced) {
  for (unsigned bits = 1; bits < 0x7c00; ++bits) {
    const double below = half_to_double(static_cast<std::uint16_t>(bits - 1));
    const double value = half_to_double(static_cast<std::uint16_t>(bits));
    EXPECT_EQ(value - below, std::ldexp(1, std::max(static_cast<int>(bits - 1) / 1024 - 25, -24))) << bits;
  }
}

TEST(Half, RoundsToNearestEven) {
  for (unsigned bits = 0; bits < 0x7bff; ++bits) {
    const double low = half_to_double(static_cast<std::uint16_t>(bits));
    const double high = half_to_double(static_cast<std::uint16_t>(bits + 1));
    const double middle = (low + high) / 2;
    EXPECT_EQ(double_to_half(middle), bits % 2 == 0 ? bits : bits + 1);
    EXPECT_EQ(double_to_half(std::nextafter(middle, 0.0)), bits);
    EXPECT_EQ(double_to_half(std::nextafter(middle, 1e9)), bits + 1);
    EXPECT_EQ(double_to_half(-middle), 0x8000 | (bits % 2 == 0 ? bits : bits + 1));
  }
  EXPECT_EQ(double_to_half(std::nextafter(65520.0, 0.0)), 0x7bff);
  EXPECT_EQ(double_to_half(65520), 0x7c00);
  EXPECT_EQ(double_to_half(-std::numeric_limits<double>::infinity()), 0xfc00);
}

}  // namespace
}  // namespace m40llm::reference
