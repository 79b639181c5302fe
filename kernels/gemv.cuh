#pragma once
// y = A x by units of kRows rows, each done by one warp; the format says how a lane reads a piece of a row and what it
// sums into. Lanes take pieces in turn; a lane's sums are joined, then xor pairs of lanes.
// kReadonly asks whether weights should come through the read-only cache: they gain nothing by it on an H200
// (F16 the same speed, Q4_1 0.7 of it), and so no kernel does; Maxwell has not been asked.
#include "kernels/formats.cuh"
#include "kernels/gemv.h"

namespace ops::gemv {

constexpr int kBlock = 256;  // threads that put x into shared memory together

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
__device__ __forceinline__ First<F, kRows> preload(const Group<32>& warp, const Matrix& a, int unit) {
  const int lane = warp.thread;
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
__device__ __forceinline__ void run(const Group<32>& warp, const Matrix& a, int unit,
                                    const First<F, kRows>& first, const float4* __restrict__ x,
                                    float* __restrict__ y) {
  const int lane = warp.thread;
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
  for (int i = lane + 32; i < n_pieces; i += 32) {
#pragma unroll
    for (int r = 0; r < kRows; ++r) F::multiply_add(sums[r], F::template load<kReadonly>(rows[r], i), x, i);
  }
  float totals[kRows];
#pragma unroll
  for (int r = 0; r < kRows; ++r) totals[r] = formats::join(sums[r]);
  warp_sums(totals);
#pragma unroll
  for (int r = 0; r < kRows; ++r) {
    const int row = kRows * unit + r;
    if (lane == 0 && row < a.rows) y[row] = totals[r];
  }
}

/// One row, x from global memory.
template <class F>
__device__ __forceinline__ void warp_row(const Group<32>& warp, const GemvParams& p, int unit) {
  const First<F, 1> first = preload<F, 1>(warp, p.a, unit);
  run<F, 1>(warp, p.a, unit, first, reinterpret_cast<const float4*>(p.x), p.y);
}

/// Two rows that share every read of x, which the whole block puts into `x` (stride / 4): all of its warps come, also
/// those without rows.
template <class F>
__device__ __forceinline__ void warp_two_rows(const Group<32>& warp, const GemvParams& p, int unit,
                                              float4* x) {
  const First<F, 2> first = preload<F, 2>(warp, p.a, unit);  // behind the last row that row once more
  const float4* const __restrict__ from = reinterpret_cast<const float4*>(p.x);
  for (int i = static_cast<int>(threadIdx.x); i < p.a.stride / 4; i += kBlock) x[i] = from[i];
  __syncthreads();
  if (2 * unit < p.a.rows) run<F, 2>(warp, p.a, unit, first, x, p.y);
}

}  // namespace ops::gemv
