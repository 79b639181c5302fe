// 1. block: 256 threads a row, a float a load. At batch 1 there is one row: 8 warps hide more latency than
//    one.
// 2. block_ldg: the same through the read-only cache, where the weight may stay between calls.
// 3. warp: one warp a row, 16 bytes a load, no shared memory and no barrier: for many rows. Needs width % 4
//    == 0.
// The sum of squares is fp32 in a fixed order: each thread its strided elements, then xor pairs.
#include "kernels/rms_norm.h"

#include "kernels/device.cuh"

__device__ __forceinline__ float inverse_rms(float sum_of_squares, int width, float eps) {
  return 1.f / sqrtf(sum_of_squares / static_cast<float>(width) + eps);
}

template <bool kReadonly>
__device__ __forceinline__ void rms_norm_block_row(const RmsNormParams& p) {
  SHARED(float[32], scratch);
  const long long row = static_cast<long long>(blockIdx.x) * p.width;
  const int threads = static_cast<int>(blockDim.x);
  float sum = 0.f;
  for (int i = static_cast<int>(threadIdx.x); i < p.width; i += threads) {
    const float x = load<kReadonly>(p.x + row + i);
    sum = fmaf(x, x, sum);
  }
  const float scale = inverse_rms(block_sum(sum, scratch), p.width, p.eps);
  for (int i = static_cast<int>(threadIdx.x); i < p.width; i += threads) {
    p.y[row + i] = load<kReadonly>(p.x + row + i) * scale * load<kReadonly>(p.weight + i);
  }
}

extern "C" __global__ void rms_norm_block(RmsNormParams p) { rms_norm_block_row<false>(p); }
extern "C" __global__ void rms_norm_block_ldg(RmsNormParams p) { rms_norm_block_row<true>(p); }

extern "C" __global__ void rms_norm_warp(RmsNormParams p) {
  const int row = static_cast<int>(blockIdx.x * (blockDim.x / kWarp) + threadIdx.x / kWarp);
  if (row >= p.n_rows) return;  // whole warps leave
  const int lane = static_cast<int>(threadIdx.x % kWarp);
  const float4* const x = reinterpret_cast<const float4*>(p.x + static_cast<long long>(row) * p.width);
  const float4* const weight = reinterpret_cast<const float4*>(p.weight);
  float4* const y = reinterpret_cast<float4*>(p.y + static_cast<long long>(row) * p.width);
  float4 sum = {0.f, 0.f, 0.f, 0.f};
  for (int i = lane; i < p.width / 4; i += static_cast<int>(kWarp)) {
    const float4 v = x[i];
    sum.x = fmaf(v.x, v.x, sum.x);
    sum.y = fmaf(v.y, v.y, sum.y);
    sum.z = fmaf(v.z, v.z, sum.z);
    sum.w = fmaf(v.w, v.w, sum.w);
  }
  const float scale = inverse_rms(warp_sum((sum.x + sum.y) + (sum.z + sum.w)), p.width, p.eps);
  for (int i = lane; i < p.width / 4; i += static_cast<int>(kWarp)) {
    const float4 v = x[i];
    const float4 w = weight[i];
    y[i] = {v.x * scale * w.x, v.y * scale * w.y, v.z * scale * w.z, v.w * scale * w.w};
  }
}
