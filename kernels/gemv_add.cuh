#pragma once
#include "kernels/gemv.cuh"
#include "kernels/gemv_add.h"

namespace ops::gemv_add {

__device__ __forceinline__ void add_rows(const GemvAddParams& p, int unit,
                                         const float (&totals)[gemv::kRows]) {
#pragma unroll
  for (int r = 0; r < gemv::kRows; ++r) {
    const int row = gemv::kRows * unit + r;
    if (threadIdx.x % 32 == 0 && row < p.a.rows) p.y[row] += totals[r];
  }
}

template <class F>
__device__ __forceinline__ void shared(const GemvAddParams& p, float4* memory) {
  const gemv::PaddedX x{memory};
  gemv::walk<F>(
      gemv::n_units(p.a), p.a.stride, x, [&](int unit) { return gemv::rows_of<F>(p.a, unit); },
      [&] { gemv::copy_x(x, p.x, p.a.stride); },
      [&](int unit, const float(&totals)[gemv::kRows]) { add_rows(p, unit, totals); });
}

template <class F>
__device__ __forceinline__ void global(const GemvAddParams& p) {
  gemv::walk<F>(
      gemv::n_units(p.a), p.a.stride, gemv::GlobalX{reinterpret_cast<const float4*>(p.x)},
      [&](int unit) { return gemv::rows_of<F>(p.a, unit); }, [] {},
      [&](int unit, const float(&totals)[gemv::kRows]) { add_rows(p, unit, totals); });
}

}  // namespace ops::gemv_add
