#pragma once
#include <bit>
#include <cmath>
#include <cstdint>

/// IEEE 754 binary16 by its definition, from and to doubles.
namespace m40llm::reference {

/// The value of a binary16's bits; exact. Every NaN becomes the quiet NaN of its sign.
inline double half_to_double(std::uint16_t bits) {
  const int exponent = bits >> 10 & 31;
  const int fraction = bits & 1023;
  const double sign = (bits & 0x8000) != 0 ? -1.0 : 1.0;
  if (exponent == 31) return std::copysign(fraction == 0 ? HUGE_VAL : std::nan(""), sign);
  if (exponent == 0) return sign * std::ldexp(fraction, -24);
  // A double has the same layout with 11 bits of exponent, biased by 1023 and not 15, and 52 of fraction.
  const auto shifted = static_cast<std::uint64_t>((exponent - 15 + 1023) * 1024 + fraction) << 42;
  return sign * std::bit_cast<double>(shifted);
}

/// The nearest binary16, ties to even: from 65520 on infinity. A NaN gives a quiet NaN (0x7e00 with its
/// sign).
inline std::uint16_t double_to_half(double value) {
  const int sign = std::signbit(value) ? 0x8000 : 0;
  const double magnitude = std::fabs(value);
  if (std::isnan(value)) return static_cast<std::uint16_t>(sign | 0x7e00);
  if (magnitude >= 65520) return static_cast<std::uint16_t>(sign | 0x7c00);
  // In units of the last place of its binade, the value's nearest integer is fraction and hidden bit; one
  // that rounds up to 2048 carries into the exponent by itself.
  const int exponent = magnitude < 0x1p-14 ? -14 : std::ilogb(magnitude);
  const double units = std::ldexp(magnitude, 10 - exponent);
  double integer = std::floor(units);
  const double rest = units - integer;
  if (rest > 0.5 || (rest == 0.5 && std::fmod(integer, 2) != 0)) integer += 1;
  return static_cast<std::uint16_t>(sign | ((exponent + 14) * 1024 + static_cast<int>(integer)));
}

/// The value after being stored as binary16.
template <class S>
S round_to_half(S value) {
  return static_cast<S>(half_to_double(double_to_half(static_cast<double>(value))));
}

}  // namespace m40llm::reference
