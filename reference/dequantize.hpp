#pragma once
#include <array>
#include <cstddef>
#include <cstring>
#include <span>
#include <stdexcept>
#include <vector>

#include "reference/bfloat16.hpp"
#include "reference/half.hpp"

/// Blocks of GGUF tensors to their values, and values to blocks. Formats: the ggml project's description of its block types.
namespace m40llm::reference {

enum class Format { f32, f16, bf16, q8_0, q4_1, q4_0, q4_k, q5_k, q6_k };

/// How a format stores elements: so many together in a block of so many bytes, as d q + m with integers q in
/// [lowest, highest], m only of formats with minima. Formats of single elements have no integers. Formats with
/// sub-blocks have an integer in [lowest_scale, highest_scale] for each, by which d is multiplied there, and with
/// minima one more, from 0 to highest_scale, for m.
struct Blocks {
  std::size_t elements, bytes;
  int lowest = 0, highest = 0;
  bool has_minima = false;
  std::size_t sub_blocks = 0;
  int lowest_scale = 1, highest_scale = 1;
};
constexpr Blocks blocks_of(Format format) {
  switch (format) {
    case Format::f32:
      return {1, 4};
    case Format::f16:
    case Format::bf16:
      return {1, 2};
    case Format::q8_0:
      return {32, 34, -128, 127};
    case Format::q4_1:
      return {32, 20, 0, 15, true};
    case Format::q4_0:
      return {32, 18, -8, 7};
    case Format::q4_k:
      return {256, 144, 0, 15, true, 8, 0, 63};
    case Format::q5_k:
      return {256, 176, 0, 31, true, 8, 0, 63};
    case Format::q6_k:
      return {256, 210, -32, 31, false, 16, -128, 127};
  }
  throw std::invalid_argument("no format");
}
constexpr std::size_t block_elements(Format format) { return blocks_of(format).elements; }
constexpr std::size_t block_bytes(Format format) { return blocks_of(format).bytes; }

/// A weight and what stands behind it: value = scaled + offset. Both parts and their sum are exact in double.
struct Weight {
  double scaled = 0;
  double offset = -0.0;  ///< m of formats with minima, else -0, which adds nothing, not even a sign
  double value() const { return scaled + offset; }
  /// |d q| + |m|: the weight in the expanded form of |A|.
  double expanded_magnitude() const { return std::fabs(scaled) + std::fabs(offset); }
};

namespace detail {
template <class T>
T load(const std::byte* from) {
  T value;
  std::memcpy(&value, from, sizeof(T));
  return value;
}

/// What q is multiplied with in a sub-block of Q4_K or Q5_K, and what is added then. Both blocks begin with halfs d and
/// dmin and 12 bytes with 8 scales and 8 minima of 6 bits.
struct ScaleAndOffset {
  double scale, offset;
};
inline ScaleAndOffset scale_and_offset(const std::byte* block, std::size_t sub) {
  const auto byte = [&](std::size_t at) { return std::to_integer<int>(block[at]); };
  int scale = byte(4 + sub % 4) % 64;
  int minimum = byte(8 + sub % 4) % 64;
  if (sub >= 4) {
    scale = byte(4 + sub - 4) / 64 * 16 + byte(12 + sub - 4) % 16;
    minimum = byte(8 + sub - 4) / 64 * 16 + byte(12 + sub - 4) / 16;
  }
  return {half_to_double(load<std::uint16_t>(block)) * scale,
          -(half_to_double(load<std::uint16_t>(block + 2)) * minimum)};
}
}  // namespace detail

/// Calls visit(i, Weight) for each element of a row in order. blocks.size() must be a multiple of
/// block_bytes(format).
template <class Visit>
void for_each_weight(Format format, std::span<const std::byte> blocks, Visit&& visit) {
  if (blocks.size() % block_bytes(format) != 0) throw std::invalid_argument("not whole blocks");
  const std::size_t n_blocks = blocks.size() / block_bytes(format);
  for (std::size_t b = 0; b < n_blocks; ++b) {
    const std::byte* block = blocks.data() + b * block_bytes(format);
    switch (format) {
      case Format::f32:
        visit(b, Weight{static_cast<double>(detail::load<float>(block))});
        break;
      case Format::f16:
        visit(b, Weight{half_to_double(detail::load<std::uint16_t>(block))});
        break;
      case Format::bf16:
        visit(b, Weight{bfloat16_to_double(detail::load<std::uint16_t>(block))});
        break;
      case Format::q8_0: {
        const double d = half_to_double(detail::load<std::uint16_t>(block));
        for (std::size_t i = 0; i < 32; ++i) {
          visit(b * 32 + i, Weight{d * detail::load<signed char>(block + 2 + i)});
        }
        break;
      }
      case Format::q4_1: {
        const double d = half_to_double(detail::load<std::uint16_t>(block));
        const double m = half_to_double(detail::load<std::uint16_t>(block + 2));
        for (std::size_t i = 0; i < 32; ++i) {
          const int pair = std::to_integer<int>(block[4 + i % 16]);
          visit(b * 32 + i, Weight{d * (i < 16 ? pair & 15 : pair >> 4), m});
        }
        break;
      }
      case Format::q4_0: {
        const double d = half_to_double(detail::load<std::uint16_t>(block));
        for (std::size_t i = 0; i < 32; ++i) {
          const int pair = std::to_integer<int>(block[2 + i % 16]);
          visit(b * 32 + i, Weight{d * ((i < 16 ? pair & 15 : pair >> 4) - 8)});
        }
        break;
      }
      case Format::q4_k:
      case Format::q5_k: {
        const bool has_fifth = format == Format::q5_k;
        const std::size_t nibbles = has_fifth ? 48 : 16;
        const auto byte = [&](std::size_t at) { return std::to_integer<int>(block[at]); };
        for (std::size_t sub = 0; sub < 8; ++sub) {
          const auto [scale, offset] = detail::scale_and_offset(block, sub);
          for (std::size_t i = 0; i < 32; ++i) {
            const int pair = byte(nibbles + sub / 2 * 32 + i);
            const int fifth = has_fifth ? byte(16 + i) >> sub & 1 : 0;
            visit(b * 256 + sub * 32 + i,
                  Weight{scale * ((sub % 2 == 0 ? pair % 16 : pair / 16) + 16 * fifth), offset});
          }
        }
        break;
      }
      case Format::q6_k: {
        const double d = half_to_double(detail::load<std::uint16_t>(block + 208));
        for (std::size_t i = 0; i < 256; ++i) {
          const std::size_t part = i / 128;
          const int pair = std::to_integer<int>(block[part * 64 + i % 64]);
          const int four = std::to_integer<int>(block[128 + part * 32 + i % 32]);
          const int low = i % 128 < 64 ? pair % 16 : pair / 16;
          const int high = four >> (i % 128 / 32 * 2) & 3;
          visit(b * 256 + i,
                Weight{d * detail::load<signed char>(block + 192 + i / 16) * (low + 16 * high - 32)});
        }
        break;
      }
    }
  }
}

/// One block of d q + m: d and m are rounded to what the format keeps of them. q.size() == block_elements(format).
/// In formats with sub-blocks (Blocks) d scale q + m minimum, with `scales` and, if the format has minima,
/// `minima` for each sub-block.
struct Block {
  double d = 1;
  double m = 0;
  std::vector<int> q;
  std::vector<int> scales, minima;
};

/// Appends a block as GGUF stores it, of a format that has integers. Throws std::invalid_argument on another.
inline void encode(Format format, const Block& block, std::vector<std::byte>& out) {
  const auto byte = [&](int bits) { out.push_back(static_cast<std::byte>(bits & 255)); };
  const auto half = [&](double value) {
    const int bits = double_to_half(value);
    byte(bits);
    byte(bits >> 8);
  };
  switch (format) {
    case Format::f32:
    case Format::f16:
    case Format::bf16:
      break;
    case Format::q8_0:
      half(block.d);
      for (const int q : block.q) byte(q);
      return;
    case Format::q4_1:
      half(block.d);
      half(block.m);
      for (std::size_t i = 0; i < 16; ++i) byte(block.q[i] | block.q[i + 16] << 4);
      return;
    case Format::q4_0:
      half(block.d);
      for (std::size_t i = 0; i < 16; ++i) byte((block.q[i] + 8) | (block.q[i + 16] + 8) << 4);
      return;
    case Format::q4_k:
    case Format::q5_k:
      half(block.d);
      half(-block.m);
      for (std::size_t i = 0; i < 4; ++i) byte(block.scales[i] | block.scales[i + 4] / 16 << 6);
      for (std::size_t i = 0; i < 4; ++i) byte(block.minima[i] | block.minima[i + 4] / 16 << 6);
      for (std::size_t i = 4; i < 8; ++i) byte(block.scales[i] % 16 | block.minima[i] % 16 << 4);
      for (std::size_t i = 0; format == Format::q5_k && i < 32; ++i) {
        int fifths = 0;
        for (std::size_t sub = 0; sub < 8; ++sub) fifths |= block.q[32 * sub + i] / 16 << sub;
        byte(fifths);
      }
      for (std::size_t i = 0; i < 128; ++i) {
        const std::size_t low = i / 32 * 64 + i % 32;
        byte(block.q[low] % 16 | block.q[low + 32] % 16 << 4);
      }
      return;
    case Format::q6_k: {
      const auto q = [&](std::size_t i) { return block.q[i] + 32; };
      for (std::size_t i = 0; i < 128; ++i) {
        const std::size_t low = i / 64 * 128 + i % 64;
        byte(q(low) % 16 | q(low + 64) % 16 << 4);
      }
      for (std::size_t i = 0; i < 64; ++i) {
        const std::size_t first = i / 32 * 128 + i % 32;
        byte(q(first) / 16 | q(first + 32) / 16 << 2 | q(first + 64) / 16 << 4 | q(first + 96) / 16 << 6);
      }
      for (const int scale : block.scales) byte(scale);
      half(block.d);
      return;
    }
  }
  throw std::invalid_argument("a format of single elements");
}

/// Appends the nearest value of a format of single elements. Throws std::invalid_argument on another.
inline void encode(Format format, double value, std::vector<std::byte>& out) {
  const auto append = [&](auto number) {
    const auto bytes = std::as_bytes(std::span(&number, 1));
    out.insert(out.end(), bytes.begin(), bytes.end());
  };
  switch (format) {
    case Format::f32:
      append(static_cast<float>(value));
      return;
    case Format::f16:
      append(double_to_half(value));
      return;
    case Format::bf16:
      append(double_to_bfloat16(value));
      return;
    case Format::q8_0:
    case Format::q4_1:
    case Format::q4_0:
    case Format::q4_k:
    case Format::q5_k:
    case Format::q6_k:
      break;
  }
  throw std::invalid_argument("a format of blocks");
}

/// Writes the values of all blocks to out, which must have one element for each. Rounds once if S is float.
template <class S>
void dequantize(Format format, std::span<const std::byte> blocks, std::span<S> out) {
  if (blocks.size() / block_bytes(format) * block_elements(format) != out.size()) {
    throw std::invalid_argument("blocks and output differ in length");
  }
  for_each_weight(format, blocks,
                  [&](std::size_t i, const Weight& w) { out[i] = static_cast<S>(w.value()); });
}

}  // namespace m40llm::reference
