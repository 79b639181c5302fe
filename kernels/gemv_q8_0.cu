// 1. warp: one warp a row, 16 bytes (16 weights, half a block) a load. The integers are multiplied with x
//    as they are and the block's scale is applied once to their sum: one multiply-add a weight and one
//    conversion.
#include "kernels/device.cuh"
#include "kernels/gemv.h"

/// q . x over the four signed bytes in `bytes`.
__device__ __forceinline__ float dot_bytes(unsigned bytes, float4 x, float sum) {
  sum = fmaf(static_cast<float>(static_cast<signed char>(bytes & 0xff)), x.x, sum);
  sum = fmaf(static_cast<float>(static_cast<signed char>(bytes >> 8 & 0xff)), x.y, sum);
  sum = fmaf(static_cast<float>(static_cast<signed char>(bytes >> 16 & 0xff)), x.z, sum);
  return fmaf(static_cast<float>(static_cast<signed char>(bytes >> 24)), x.w, sum);
}

extern "C" __global__ void gemv_q8_0_warp(GemvParams p) {
  const int row = static_cast<int>(blockIdx.x * (blockDim.x / kWarp) + threadIdx.x / kWarp);
  if (row >= p.a.rows) return;  // whole warps leave
  const long long start = static_cast<long long>(row) * p.a.stride;
  const uint4* const a = reinterpret_cast<const uint4*>(static_cast<const signed char*>(p.a.values) + start);
  const half* const scales = p.a.scales + start / 32;
  const float4* const x = reinterpret_cast<const float4*>(p.x);
  float sum = 0.f;
#pragma unroll 2
  for (int i = static_cast<int>(threadIdx.x % kWarp); i < p.a.stride / 16; i += static_cast<int>(kWarp)) {
    const uint4 q = a[i];
    const float q0 = dot_bytes(q.x, x[4 * i], 0.f);
    const float q1 = dot_bytes(q.y, x[4 * i + 1], 0.f);
    const float q2 = dot_bytes(q.z, x[4 * i + 2], 0.f);
    const float q3 = dot_bytes(q.w, x[4 * i + 3], 0.f);
    sum = fmaf(half_to_float(scales[i / 2]), (q0 + q1) + (q2 + q3), sum);
  }
  const float total = warp_sum(sum);
  if (threadIdx.x % kWarp == 0) p.y[row] = total;
}
