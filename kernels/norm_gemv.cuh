#pragma once
#include "kernels/gemv.cuh"
#include "kernels/norm_gemv.h"
#include "kernels/rms_norm.cuh"

namespace ops::norm_gemv {

/// Element i of x in shared memory.
__device__ __forceinline__ float& element(const gemv::PaddedX& x, int i) {
  return reinterpret_cast<float*>(&x[i / 4])[i % 4];
}
/// The norm's weight (width) to where x will be, zeros behind it up to stride: all threads of a block. Each finds its own
/// again.
__device__ __forceinline__ void put_weight(const gemv::PaddedX& to, const float* __restrict__ weight,
                                           int width, int stride) {
#pragma unroll 4
  for (int i = static_cast<int>(threadIdx.x); i < stride; i += rms_norm::kBlock)
    element(to, i) = i < width ? weight[i] : 0.f;
}
/// x (width), normalized, in the place of the weight that put_weight left there: all threads of a block. The order of the
/// sum of squares is that of rms_norm's block.
__device__ __forceinline__ void normed_x(const gemv::PaddedX& to, const float* __restrict__ x, int width,
                                         float eps, rms_norm::Shared& shared) {
  const auto block = Group<rms_norm::kBlock>::mine();
  const float scale = rms_norm::scale_of(block, x, width, eps, shared);
#pragma unroll 4
  for (int i = block.thread; i < width; i += rms_norm::kBlock) {
    float& value = element(to, i);
    value = rms_norm::scaled(x[i], scale, value);
  }
  __syncthreads();
}

struct Product {
  static constexpr int kRows = 2;
  const NormGemvParams& p;
  rms_norm::Shared& sums;
  __device__ __forceinline__ int n_units() const { return gemv::n_units<kRows>(p.a); }
  __device__ __forceinline__ int stride() const { return p.a.stride; }
  template <class F>
  __device__ __forceinline__ gemv::Rows<kRows> rows(int unit) const {
    return gemv::rows_of<F, kRows>(p.a, unit);
  }
  __device__ __forceinline__ void prepare(const gemv::PaddedX& x) const {
    put_weight(x, p.weight, p.a.cols, p.a.stride);
  }
  __device__ __forceinline__ void put(const gemv::PaddedX& x) const {
    normed_x(x, p.x, p.a.cols, p.eps, sums);
  }
  __device__ __forceinline__ float2 beside(int) const { return {}; }
  __device__ __forceinline__ void store(int unit, const float (&totals)[kRows], float2) const {
    gemv::store_rows(p.a, unit, totals, p.y);
  }
};

template <class F>
__device__ __forceinline__ void shared(const NormGemvParams& p, float4* memory, rms_norm::Shared& sums) {
  gemv::walk<F>(Product{p, sums}, gemv::PaddedX{memory});
}

}  // namespace ops::norm_gemv
