#pragma once
#include "reference/sixteen_bits.hpp"

/// IEEE 754 binary16 by its definition, from and to doubles.
namespace m40llm::reference {

/// The value of a binary16's bits; exact. Every NaN becomes the quiet NaN of its sign.
inline double half_to_double(std::uint16_t bits) { return SixteenBits<10>::to_double(bits); }

/// The nearest binary16, ties to even: from 65520 on infinity. A NaN gives a quiet NaN (0x7e00 with its
/// sign).
inline std::uint16_t double_to_half(double value) { return SixteenBits<10>::from_double(value); }

/// The value after being stored as binary16.
template <class S>
S round_to_half(S value) {
  return static_cast<S>(half_to_double(double_to_half(static_cast<double>(value))));
}

}  // namespace m40llm::reference
