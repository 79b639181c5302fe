#pragma once
#include <bit>
#include <cmath>
#include <cstdint>

namespace m40llm::reference {

/// A number of 16 bits: a sign, an exponent and kFraction bits of fraction. IEEE 754's rules for the exponent: biased so
/// that 1 has the middle one, the lowest for denormals, the highest for infinities and NaN.
template <int kFraction>
struct SixteenBits {
  static constexpr int kUnits = 1 << kFraction;  // of the last place in a binade
  static constexpr int kExponents = 1 << (15 - kFraction);
  static constexpr int kBias = kExponents / 2 - 1;

  static double to_double(std::uint16_t bits) {
    const int exponent = bits >> kFraction & (kExponents - 1);
    const int fraction = bits & (kUnits - 1);
    const double sign = (bits & 0x8000) != 0 ? -1.0 : 1.0;
    if (exponent == kExponents - 1) return std::copysign(fraction == 0 ? HUGE_VAL : std::nan(""), sign);
    if (exponent == 0) return sign * std::ldexp(fraction, 1 - kBias - kFraction);
    // A double has the same layout with 11 bits of exponent, biased by 1023, and 52 of fraction.
    const auto shifted = static_cast<std::uint64_t>((exponent - kBias + 1023) * kUnits + fraction)
                         << (52 - kFraction);
    return sign * std::bit_cast<double>(shifted);
  }

  static std::uint16_t from_double(double value) {
    constexpr int kInfinity = (kExponents - 1) * kUnits;
    const int sign = std::signbit(value) ? 0x8000 : 0;
    const double magnitude = std::fabs(value);
    if (std::isnan(value)) return static_cast<std::uint16_t>(sign | kInfinity | kUnits / 2);
    if (magnitude >= std::ldexp(1, kBias + 1)) return static_cast<std::uint16_t>(sign | kInfinity);
    // In units of the last place of its binade, the value's nearest integer is fraction and hidden bit; one
    // that rounds up to the next binade carries into the exponent by itself.
    const int exponent = magnitude < std::ldexp(1, 1 - kBias) ? 1 - kBias : std::ilogb(magnitude);
    const double units = std::ldexp(magnitude, kFraction - exponent);
    double integer = std::floor(units);
    const double rest = units - integer;
    if (rest > 0.5 || (rest == 0.5 && std::fmod(integer, 2) != 0)) integer += 1;
    return static_cast<std::uint16_t>(sign | ((exponent + kBias - 1) * kUnits + static_cast<int>(integer)));
  }
};

}  // namespace m40llm::reference
