#pragma once
#include "engine/ops/shapes.hpp"
#include "engine/ops/variant.hpp"
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
/// Blocks whose warps walk units, so that each puts x into shared memory once.
unsigned walking_blocks(int rows, int n_sms);
/// x in shared memory, a float4 of gap behind every eight.
constexpr unsigned padded_x_bytes(const Matrix& a) { return static_cast<unsigned>(a.stride) / 32 * 36 * 4; }
/// With so many bytes of static shared memory beside it.
bool x_fits_shared(const Matrix& a, unsigned bytes_beside = 0);
/// The longest chain of roundings of one element.
constexpr int product_chain(const Matrix& a) {
  const FormatTraits& f = traits(a.format);
  return div_up(a.stride, f.piece * 32) * f.piece_chain + f.join_chain + kWarpSumChain;
}
inline constexpr unsigned kNormedSharedBytes = 128;  ///< sums of warps, beside x
inline Work product_work(const Matrix& a) {
  const double n = static_cast<double>(a.rows) * a.cols;
  return {n * bits_per_weight(a.format) / 8 + 4.0 * (a.cols + a.rows), 2 * n};
}

}  // namespace m40llm
