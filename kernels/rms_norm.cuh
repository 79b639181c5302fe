#pragma once
// 1. block: 256 threads a row, a float a load. At batch 1 there is one row: 8 warps hide more latency than
//    one. Through the read-only cache (kReadonly) it is no faster at any size recorded on an H100 and an H200.
// 2. warp: one warp a row, 16 bytes a load, no shared memory and no barrier: for many rows. Needs width % 4
//    == 0.
// The sum of squares is fp32 in a fixed order: each thread its strided elements, then xor pairs.
#include "kernels/device.cuh"
#include "kernels/rms_norm.h"

namespace ops::rms_norm {

constexpr int kBlock = 256;

struct Shared {
  float sums[32];
};

__device__ __forceinline__ float inverse_rms(float sum_of_squares, int width, float eps) {
  return 1.f / sqrtf(sum_of_squares / static_cast<float>(width) + eps);
}

__device__ __forceinline__ float scaled(float x, float scale, float weight) { return x * scale * weight; }

/// 1 / sqrt(mean(x^2) + eps) of one row. The group's sync() must stand between two uses of `shared`.
template <bool kReadonly = false>
__device__ __forceinline__ float scale_of(const Group<kBlock>& group, const float* __restrict__ x, int width,
                                          float eps, Shared& shared) {
  float sum = 0.f;
  for (int i = group.thread; i < width; i += kBlock) {
    const float value = load<kReadonly>(x + i);
    sum = fmaf(value, value, sum);
  }
  return inverse_rms(group_sum(group, sum, shared.sums), width, eps);
}

/// One row. The group's sync() must stand between two uses of `shared`.
template <bool kReadonly>
__device__ __forceinline__ void block_row(const Group<kBlock>& group, const RmsNormParams& p, int row,
                                          Shared& shared) {
  const float* const __restrict__ x = p.x + static_cast<long long>(row) * p.width;
  const float* const __restrict__ weight = p.weight;
  float* const __restrict__ y = p.y + static_cast<long long>(row) * p.width;
  const float scale = scale_of<kReadonly>(group, x, p.width, p.eps, shared);
  for (int i = group.thread; i < p.width; i += kBlock) {
    y[i] = scaled(load<kReadonly>(x + i), scale, load<kReadonly>(weight + i));
  }
}

__device__ __forceinline__ void warp_row(const Group<32>& warp, const RmsNormParams& p, int row) {
  const float4* const __restrict__ x =
      reinterpret_cast<const float4*>(p.x + static_cast<long long>(row) * p.width);
  const float4* const __restrict__ weight = reinterpret_cast<const float4*>(p.weight);
  float4* const __restrict__ y = reinterpret_cast<float4*>(p.y + static_cast<long long>(row) * p.width);
  float4 sum = {0.f, 0.f, 0.f, 0.f};
  for (int i = warp.thread; i < p.width / 4; i += 32) {
    const float4 v = x[i];
    sum.x = fmaf(v.x, v.x, sum.x);
    sum.y = fmaf(v.y, v.y, sum.y);
    sum.z = fmaf(v.z, v.z, sum.z);
    sum.w = fmaf(v.w, v.w, sum.w);
  }
  const float scale = inverse_rms(warp_sum((sum.x + sum.y) + (sum.z + sum.w)), p.width, p.eps);
  for (int i = warp.thread; i < p.width / 4; i += 32) {
    const float4 v = x[i];
    const float4 w = weight[i];
    y[i] = {v.x * scale * w.x, v.y * scale * w.y, v.z * scale * w.z, v.w * scale * w.w};
  }
}

}  // namespace ops::rms_norm
