#pragma once
#include "kernels/gemv.cuh"
#include "kernels/norm_gemv.h"
#include "kernels/rms_norm.cuh"

namespace ops::norm_gemv {

/// Each thread has every kBlock-th element; from one to the next are so many floats of PaddedX.
constexpr int kStep = rms_norm::kBlock / 32 * 36;

__device__ __forceinline__ gemv::Held held(const float* __restrict__ weight, int width) {
  const int thread = static_cast<int>(threadIdx.x);
  gemv::Held held;
#pragma unroll
  for (int j = 0; j < gemv::Held::kCount; ++j) {
    held.weight[j] = 0.f;
    if (thread < width - j * rms_norm::kBlock) held.weight[j] = weight[thread + j * rms_norm::kBlock];
  }
  return held;
}

/// Puts x (width), normalized, into shared memory, zeros behind it up to stride: all threads of a block. The order of
/// the sum of squares is that of rms_norm's block.
__device__ __forceinline__ void normed_x(const gemv::PaddedX& to, const float* __restrict__ x,
                                         const float* __restrict__ weight, const gemv::Held& held, int width,
                                         int stride, float eps, rms_norm::Shared& shared) {
  const auto block = Group<rms_norm::kBlock>::mine();
  float* const own = reinterpret_cast<float*>(&to[block.thread / 4]) + block.thread % 4;
  float sum = 0.f;
  int n = 0;  // of the thread's elements
#pragma unroll 8
  for (int i = block.thread; i < width; i += rms_norm::kBlock) {
    const float value = x[i];
    own[n++ * kStep] = value;
    sum = fmaf(value, value, sum);
  }
  const float scale = rms_norm::inverse_rms(group_sum(block, sum, shared.sums), width, eps);
#pragma unroll
  for (int j = 0; j < gemv::Held::kCount; ++j) {
    if (block.thread < width - j * rms_norm::kBlock)
      own[j * kStep] = rms_norm::scaled(own[j * kStep], scale, held.weight[j]);
  }
  for (int j = gemv::Held::kCount; j < n; ++j)
    own[j * kStep] = rms_norm::scaled(own[j * kStep], scale, weight[block.thread + j * rms_norm::kBlock]);
  for (; block.thread < stride - n * rms_norm::kBlock; ++n) own[n * kStep] = 0.f;
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
  __device__ __forceinline__ gemv::Held prepare() const { return held(p.weight, p.a.cols); }
  __device__ __forceinline__ void put(const gemv::PaddedX& x, const gemv::Held& held) const {
    normed_x(x, p.x, p.weight, held, p.a.cols, p.a.stride, p.eps, sums);
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

template <class F>
__device__ __forceinline__ void integers(const NormGemvParams& p, float4* memory, rms_norm::Shared& sums) {
  gemv::walk<formats::Int8<F>>(Product{p, sums}, gemv::quantized(memory, p.a.stride));
}

}  // namespace ops::norm_gemv
