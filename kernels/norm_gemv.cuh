#pragma once
#include "kernels/gemv.cuh"
#include "kernels/norm_gemv.h"
#include "kernels/rms_norm.cuh"

namespace ops::norm_gemv {

/// Quad i of a row of `width` floats, zeros behind its end; the row's begin is 16-byte aligned.
__device__ __forceinline__ float4 quad_of(const float* __restrict__ row, int i, int width) {
  const int first = 4 * i;
  if (first + 4 <= width) return reinterpret_cast<const float4*>(row)[i];
  float4 v = {0.f, 0.f, 0.f, 0.f};
  if (first < width) v.x = row[first];
  if (first + 1 < width) v.y = row[first + 1];
  if (first + 2 < width) v.z = row[first + 2];
  return v;
}

__device__ __forceinline__ gemv::Held held(const float* __restrict__ weight, int width) {
  gemv::Held held;
#pragma unroll
  for (int j = 0; j < gemv::Held::kQuads; ++j)
    held.weight[j] = quad_of(weight, static_cast<int>(threadIdx.x + j * blockDim.x), width);
  return held;
}

/// The sum of x^2, warp by warp, into shared.sums: all threads of a block of at least rms_norm::kBlock, whose first ones add
/// in the order of rms_norm's block.
__device__ __forceinline__ void sum_squares(const float* __restrict__ x, int width,
                                            rms_norm::Shared& shared) {
  constexpr int kAtOnce = 8;
  const int thread = static_cast<int>(threadIdx.x);
  if (thread >= rms_norm::kBlock) return;
  float sum = 0.f;
  for (int first = thread; first < width; first += kAtOnce * rms_norm::kBlock) {
    float value[kAtOnce];
#pragma unroll
    for (int j = 0; j < kAtOnce; ++j) {
      value[j] = 0.f;  // which adds nothing
      if (first < width - j * rms_norm::kBlock) value[j] = x[first + j * rms_norm::kBlock];
    }
#pragma unroll
    for (int j = 0; j < kAtOnce; ++j) sum = fmaf(value[j], value[j], sum);
  }
  sum = warp_sum(sum);
  if (thread % 32 == 0) shared.sums[thread / 32] = sum;
}
/// Behind a barrier, 1 / sqrt(mean(x^2) + eps) in every thread.
__device__ __forceinline__ float scale_of(const rms_norm::Shared& shared, int width, float eps) {
  constexpr unsigned kWarps = rms_norm::kBlock / 32;
  float sum[1] = {shared.sums[threadIdx.x % kWarps]};
  warp_sums(sum, kWarps);
  return rms_norm::inverse_rms(sum[0], width, eps);
}

__device__ __forceinline__ float4 scaled(const float4& x, float scale, const float4& weight) {
  return {rms_norm::scaled(x.x, scale, weight.x), rms_norm::scaled(x.y, scale, weight.y),
          rms_norm::scaled(x.z, scale, weight.z), rms_norm::scaled(x.w, scale, weight.w)};
}

/// Puts x (width), normalized, zeros behind it up to stride: all threads of a block.
template <class X>
__device__ __forceinline__ void normed_x(const X& to, const float* __restrict__ x,
                                         const float* __restrict__ weight, const gemv::Held& held, int width,
                                         int stride, float eps, rms_norm::Shared& shared) {
  const int thread = static_cast<int>(threadIdx.x);
  const int step = static_cast<int>(blockDim.x);
  sum_squares(x, width, shared);
  float4 own[gemv::Held::kQuads];
#pragma unroll
  for (int j = 0; j < gemv::Held::kQuads; ++j) own[j] = quad_of(x, thread + j * step, width);
  __syncthreads();
  const float scale = scale_of(shared, width, eps);
#pragma unroll
  for (int j = 0; j < gemv::Held::kQuads; ++j) {
    const int i = thread + j * step;
    if (i - thread % 32 < stride / 4) to.put(i, scaled(own[j], scale, held.weight[j]), i < stride / 4);
  }
  for (int i = thread + gemv::Held::kQuads * step; i - thread % 32 < stride / 4; i += step)
    to.put(i, scaled(quad_of(x, i, width), scale, quad_of(weight, i, width)), i < stride / 4);
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
  template <class X>
  __device__ __forceinline__ void put(const X& x, const gemv::Held& held) const {
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
  gemv::walk<formats::Int8<F>>(Product{p, sums}, int8::row_in(memory, p.a.stride));
}

}  // namespace ops::norm_gemv
