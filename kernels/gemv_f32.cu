// 1. warp: one warp a row, 16 bytes a load, four sums a lane.
#include "kernels/device.cuh"
#include "kernels/gemv.h"

extern "C" __global__ void gemv_f32_warp(GemvParams p) {
  const int row = static_cast<int>(blockIdx.x * (blockDim.x / kWarp) + threadIdx.x / kWarp);
  if (row >= p.a.rows) return;  // whole warps leave
  const float4* const a = reinterpret_cast<const float4*>(static_cast<const float*>(p.a.values) +
                                                          static_cast<long long>(row) * p.a.stride);
  const float4* const x = reinterpret_cast<const float4*>(p.x);
  float4 sum = {0.f, 0.f, 0.f, 0.f};
  for (int i = static_cast<int>(threadIdx.x % kWarp); i < p.a.stride / 4; i += static_cast<int>(kWarp)) {
    const float4 w = a[i];
    const float4 v = x[i];
    sum.x = fmaf(w.x, v.x, sum.x);
    sum.y = fmaf(w.y, v.y, sum.y);
    sum.z = fmaf(w.z, v.z, sum.z);
    sum.w = fmaf(w.w, v.w, sum.w);
  }
  const float total = warp_sum((sum.x + sum.y) + (sum.z + sum.w));
  if (threadIdx.x % kWarp == 0) p.y[row] = total;
}
