#pragma once
#include "reference/sixteen_bits.hpp"

/// bfloat16, the upper half of an IEEE 754 binary32, by its definition, from and to doubles.
namespace m40llm::reference {

/// The value of a bfloat16's bits; exact. Every NaN becomes the quiet NaN of its sign.
inline double bfloat16_to_double(std::uint16_t bits) { return SixteenBits<7>::to_double(bits); }

/// The nearest bfloat16, ties to even: from 2^128 - 2^119 on infinity. A NaN gives a quiet NaN (0x7fc0 with its
/// sign).
inline std::uint16_t double_to_bfloat16(double value) { return SixteenBits<7>::from_double(value); }

}  // namespace m40llm::reference
