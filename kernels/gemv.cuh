#pragma once
// y = A x by units of kRows rows, each by one warp; the format says how a lane reads a piece of a row and what it
// sums into. Lanes take pieces in turn; a lane's sums are joined, then xor pairs of lanes.
// kReadonly asks whether weights should come through the read-only cache: they gain nothing by it on an H200
// (F16 the same speed, Q4_1 0.7 of it), and so no kernel does; Maxwell has not been asked.
#include "kernels/formats.cuh"
#include "kernels/gemv.h"

namespace gemv {

/// A lane's first piece of each of a unit's rows: it needs no x, so that it can be in flight before x is there.
template <class F, int kRows>
struct First {
  typename F::Piece piece[kRows];
};

/// Row `r` of a unit; behind the last row the last one, whose result is not kept.
template <class F, int kRows>
__device__ __forceinline__ formats::Row row_of(const Matrix& a, int unit, int r) {
  return formats::row_of<F>(a, min_of(kRows * unit + r, a.rows - 1));
}

template <class F, int kRows, bool kReadonly = false>
__device__ __forceinline__ First<F, kRows> preload(const Matrix& a, int unit) {
  const int lane = static_cast<int>(threadIdx.x % kWarp);
  First<F, kRows> first{};
  if (lane < a.stride / F::kWeights) {
#pragma unroll
    for (int r = 0; r < kRows; ++r)
      first.piece[r] = F::template load<kReadonly>(row_of<F, kRows>(a, unit, r), lane);
  }
  return first;
}

/// The rest of the unit. x (stride), in global or shared memory.
template <class F, int kRows, bool kReadonly = false>
__device__ __forceinline__ void run(const Matrix& a, int unit, const First<F, kRows>& first,
                                    const float4* __restrict__ x, float* __restrict__ y) {
  const int lane = static_cast<int>(threadIdx.x % kWarp);
  const int n_pieces = a.stride / F::kWeights;
  formats::Row rows[kRows];
  typename F::Sum sums[kRows];
#pragma unroll
  for (int r = 0; r < kRows; ++r) {
    rows[r] = row_of<F, kRows>(a, unit, r);
    sums[r] = {};
    if (lane < n_pieces) F::multiply_add(sums[r], first.piece[r], x, lane);
  }
#pragma unroll F::kUnroll
  for (int i = lane + static_cast<int>(kWarp); i < n_pieces; i += static_cast<int>(kWarp)) {
#pragma unroll
    for (int r = 0; r < kRows; ++r)
      F::multiply_add(sums[r], F::template load<kReadonly>(rows[r], i), x, i);
  }
#pragma unroll
  for (int r = 0; r < kRows; ++r) {
    const float total = warp_sum(formats::join(sums[r]));
    const int row = kRows * unit + r;
    if (lane == 0 && row < a.rows) y[row] = total;
  }
}

/// The unit of a warp where a launch has a unit a warp.
__device__ __forceinline__ int unit_of_warp() {
  return static_cast<int>(blockIdx.x * (blockDim.x / kWarp) + threadIdx.x / kWarp);
}

/// A unit a warp, one row each, x from global memory.
template <class F>
__device__ __forceinline__ void warp_a_row(const GemvParams& p) {
  const int unit = unit_of_warp();
  if (unit < p.a.rows) {  // by whole warps
    run<F, 1>(p.a, unit, preload<F, 1>(p.a, unit), reinterpret_cast<const float4*>(p.x), p.y);
  }
}

/// A unit a warp, two rows each that share every read of x, which all of the block put into `x` (stride / 4).
template <class F>
__device__ __forceinline__ void two_rows_a_warp(const GemvParams& p, float4* x) {
  const int unit = unit_of_warp();
  const bool has_rows = 2 * unit < p.a.rows;
  First<F, 2> first{};
  if (has_rows) first = preload<F, 2>(p.a, unit);
  for (int i = static_cast<int>(threadIdx.x); i < p.a.stride / 4; i += static_cast<int>(blockDim.x)) {
    x[i] = reinterpret_cast<const float4*>(p.x)[i];
  }
  __syncthreads();
  if (has_rows) run<F, 2>(p.a, unit, first, x, p.y);
}

}  // namespace gemv
