#pragma once
#include "kernels/gemv.cuh"
#include "kernels/norm_gemv.h"
#include "kernels/rms_norm.cuh"

namespace ops::norm_gemv {

/// Puts x (width), normalized, into shared memory, zeros behind it up to stride: all threads of a block. The order of
/// the sum of squares is that of rms_norm's block.
__device__ __forceinline__ void normed_x(const gemv::PaddedX& to, const float* __restrict__ x,
                                         const float* __restrict__ weight, int width, int stride, float eps,
                                         rms_norm::Shared& shared) {
  const auto block = Group<rms_norm::kBlock>::mine();
  const float scale = rms_norm::scale_of(block, x, width, eps, shared);
  for (int i = block.thread; i < stride; i += rms_norm::kBlock) {
    float4& four = to[i / 4];
    reinterpret_cast<float*>(&four)[i % 4] = i < width ? rms_norm::scaled(x[i], scale, weight[i]) : 0.f;
  }
  __syncthreads();
}

template <class F>
__device__ __forceinline__ void shared(const NormGemvParams& p, float4* memory, rms_norm::Shared& sums) {
  const gemv::PaddedX x{memory};
  gemv::walk<F>(
      gemv::n_units(p.a), p.a.stride, x, [&](int unit) { return gemv::rows_of<F>(p.a, unit); },
      [&] { normed_x(x, p.x, p.weight, p.a.cols, p.a.stride, p.eps, sums); },
      [&](int unit, const float(&totals)[gemv::kRows]) { gemv::store_rows(p.a, unit, totals, p.y); });
}

}  // namespace ops::norm_gemv
