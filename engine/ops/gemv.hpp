#pragma once
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "engine/ops/gemv.hpp"
#include "engine/ops/shapes.hpp"
#include "engine/ops/variant.hpp"
#include "kernels/chip.hpp"
#include "kernels/gemv.h"
#include "kernels/int8.h"

namespace m40llm {

/// What products multiply weights with. A format without integers takes floats in both cases.
enum class Activations : std::uint8_t {
  float32,
  int8,  ///< x rounded to 8 bits by blocks of 32 (kernels/int8.cuh)
};

/// The name of the variants that take 8-bit activations.
inline constexpr const char* kInt8Variant = "int8";
constexpr std::string_view name_of(Activations activations) {
  return activations == Activations::int8 ? "int8" : "float32";
}

/// The product for weights of a format: "gemv_q4_1", "gemv_int8_q4_1".
const Op<GemvParams>& gemv_op(Format format, Activations activations);

// What all ops with products of one row of x share (kernels/gemv.cuh).
inline constexpr unsigned kProductBlock = kProductThreads;
inline constexpr unsigned kInt8Block = kInt8Threads;
inline constexpr int kProductRows = 2;  ///< of a unit, which is a warp's

/// Blocks in which every warp has at most one unit.
constexpr unsigned product_blocks(int rows) {
  return udiv_up(rows, kProductRows * kProductBlock / kWarpSize);
}
/// Blocks whose warps walk units, so that each puts x into shared memory once: as many on all SMs, or one on some; at most
/// sm_blocks an SM, and at most those that an M40's has shared memory for, of which each takes shared_bytes.
unsigned walking_blocks(int rows, int n_sms, int sm_blocks, unsigned shared_bytes);
/// Blocks of products of integers, one on each SM.
unsigned int8_blocks(int rows, int n_sms);
/// x in shared memory, a float4 of gap behind every eight.
constexpr unsigned padded_x_bytes(const Matrix& a) { return static_cast<unsigned>(a.stride) / 32 * 36 * 4; }
constexpr bool x_fits_shared(const Matrix& a) {
  return padded_x_bytes(a) <= static_cast<unsigned>(kGm200.shared_bytes_per_block);
}
/// x as 8-bit integers in shared memory.
constexpr unsigned int8_x_bytes(const Matrix& a) {
  return static_cast<unsigned>(a.stride / 32 * kInt8BlockBytes + kInt8BytesBeside);
}
constexpr bool int8_x_fits_shared(const Matrix& a) {
  return int8_x_bytes(a) <= static_cast<unsigned>(kGm200.shared_bytes_per_block);
}
/// What stands beside a row that is normalized in shared memory: the sums of 32 warps, and of qkv the token's place.
inline constexpr int kNormSharedBytes = 36 * static_cast<int>(sizeof(float));
/// The widest such row.
constexpr int widest_normed(Activations activations) {
  const int beside = kNormSharedBytes + (activations == Activations::int8 ? kInt8BytesBeside : 0);
  const int block = activations == Activations::int8 ? kInt8BlockBytes : 36 * static_cast<int>(sizeof(float));
  return (kGm200.shared_bytes_per_block - beside) / block * 32;
}
/// Of one of the integer formats, its place in a table of them alone.
constexpr bool has_integers(Format format) { return static_cast<int>(format) >= kFloatFormats; }
constexpr std::size_t integer_format(Format format) {
  return static_cast<std::size_t>(format) - kFloatFormats;
}
/// The longest chain of roundings of one element.
constexpr int product_chain(const Matrix& a) {
  const FormatTraits& f = traits(a.format);
  return div_up(a.stride, f.piece * 32) * f.piece_chain + f.join_chain + kWarpSumChain;
}
inline Work product_work(const Matrix& a) {
  const double n = static_cast<double>(a.rows) * a.cols;
  return {n * bits_per_weight(a.format) / 8 + 4.0 * (a.cols + a.rows), 2 * n};
}
/// Of a product whose units are of so many rows.
inline ProductRounds product_rounds(const Matrix& a, int rows_a_unit = kProductRows) {
  const FormatTraits& f = traits(a.format);
  const double units = div_up(a.rows, rows_a_unit);
  const double by_a_warp = div_up(a.stride / f.piece, static_cast<int>(kWarpSize));  // pieces, a lane each
  return {static_cast<double>(a.rows) * a.cols, f.ahead * f.piece, units,
          units * by_a_warp * rows_a_unit / f.ahead};
}

}  // namespace m40llm
