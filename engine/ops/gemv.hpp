#pragma once
#include "engine/ops/shapes.hpp"
#include "engine/ops/variant.hpp"
#include "kernels/chip.hpp"
#include "kernels/gemv.h"

namespace m40llm {

/// The product for weights of a format: "gemv_q4_1".
const Op<GemvParams>& gemv_op(Format format);

// What all ops with products of one row of x share (kernels/gemv.cuh).
inline constexpr unsigned kProductBlock = 256;
inline constexpr int kProductRows = 2;  ///< of a unit, which is a warp's

/// Blocks in which every warp has at most one unit.
constexpr unsigned product_blocks(int rows) {
  return udiv_up(rows, kProductRows * kProductBlock / kWarpSize);
}
/// Blocks whose warps walk units, so that each puts x into shared memory once: as many on all SMs, or one on some; at most
/// sm_blocks an SM, and at most those that an M40's has shared memory for, of which each takes shared_bytes.
unsigned walking_blocks(int rows, int n_sms, int sm_blocks, unsigned shared_bytes);
/// x in shared memory, a float4 of gap behind every eight.
constexpr unsigned padded_x_bytes(const Matrix& a) { return static_cast<unsigned>(a.stride) / 32 * 36 * 4; }
constexpr bool x_fits_shared(const Matrix& a) {
  return padded_x_bytes(a) <= static_cast<unsigned>(kGm200.shared_bytes_per_block);
}
/// What stands beside a row that is normalized in shared memory: the sums of 32 warps, and of qkv the token's place.
inline constexpr int kNormSharedBytes = 36 * static_cast<int>(sizeof(float));
/// The widest such row.
inline constexpr int kWidestNormed =
    (kGm200.shared_bytes_per_block - kNormSharedBytes) / (36 * static_cast<int>(sizeof(float))) * 32;
/// The longest chain of roundings of one element.
constexpr int product_chain(const Matrix& a) {
  const FormatTraits& f = traits(a.format);
  return div_up(a.stride, f.piece * 32) * f.piece_chain + f.join_chain + kWarpSumChain;
}
inline Work product_work(const Matrix& a) {
  const double n = static_cast<double>(a.rows) * a.cols;
  return {n * bits_per_weight(a.format) / 8 + 4.0 * (a.cols + a.rows), 2 * n};
}
/// Of a product whose units are of so many rows: what a lane has in flight is as much of one row as of two.
inline ProductRounds product_rounds(const Matrix& a, int rows_a_unit = kProductRows) {
  const FormatTraits& f = traits(a.format);
  const int ahead = kProductRows * f.ahead;
  const double units = div_up(a.rows, rows_a_unit);
  const double by_a_warp = div_up(a.stride / f.piece, static_cast<int>(kWarpSize));  // pieces, a lane each
  return {static_cast<double>(a.rows) * a.cols, ahead * f.piece, units,
          units * by_a_warp * rows_a_unit / ahead};
}

}  // namespace m40llm
