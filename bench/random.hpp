#pragma once
#include <cstdint>

namespace m40llm::bench {

/// Numbers that depend on (seed, stream, index) alone, the same on every system: a counter goes through the
/// mixing function of SplitMix64 (Steele, Lea and Flood, 2014), and what follows is integers and exactly
/// rounded operations. The standard library's distributions are left to each implementation, and so not used.
class Random {
 public:
  /// `stream` keeps the inputs of one case apart: 0 for weights, 1 for x, ...
  Random(std::uint64_t seed, std::uint64_t stream) : key_(mix(mix(seed + kStep) ^ (stream * kStep))) {}

  std::uint64_t bits() { return mix(key_ + kStep * ++count_); }
  /// A whole number in [0, n).
  int below(int n) { return static_cast<int>((bits() >> 32) * static_cast<std::uint64_t>(n) >> 32); }
  /// A whole number in [low, high].
  int between(int low, int high) { return low + below(high - low + 1); }
  /// +1 or -1.
  int sign() { return (bits() & 1) != 0 ? 1 : -1; }
  /// In [0, 1), a multiple of 2^-24.
  float uniform() { return static_cast<float>(bits() >> 40) * 0x1p-24f; }
  /// Nearly normal with mean 0 and variance 1: the sum of four uniform 16-bit numbers; |value| < 3.47.
  float normal() {
    const std::uint64_t b = bits();
    const int sum = static_cast<int>((b & 0xffff) + (b >> 16 & 0xffff) + (b >> 32 & 0xffff) + (b >> 48));
    return static_cast<float>((sum - 2 * 65535) * 2.6428986e-05);  // 1 / sqrt((65536^2 - 1) / 3)
  }
  /// Any sign, its magnitude spread evenly over the powers of two from 2^low to 2^high.
  float over_binades(int low, int high) {
    const float mantissa = 1.0f + uniform();
    return static_cast<float>(sign()) * scaled(mantissa, between(low, high - 1));
  }

 private:
  static constexpr std::uint64_t kStep = 0x9e3779b97f4a7c15;
  static std::uint64_t mix(std::uint64_t z) {
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
    z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
    return z ^ (z >> 31);
  }
  /// x 2^exponent; one rounding, and only if the result is denormal.
  static float scaled(float x, int exponent) {
    double power = 1;
    for (int i = 0; i < exponent; ++i) power *= 2;
    for (int i = 0; i > exponent; --i) power /= 2;
    return static_cast<float>(x * power);
  }

  std::uint64_t key_;
  std::uint64_t count_ = 0;
};

}  // namespace m40llm::bench
