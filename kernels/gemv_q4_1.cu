// 1. word_shared: four lanes a block of 32 weights, 4 bytes (8 weights) a lane; x once a block of threads
//    into shared memory, two rows a warp share each read of it. Narrow rows (576 weights: 18 blocks) keep
//    more lanes busy than with a block a lane. Needs x in 48 KB.
// 2. word_shared_ldg: the same, weights and scales through the read-only cache. On an H200 0.7 of the
//    speed.
// 3. block: a block of 32 weights (16 bytes) a lane, one row a warp, x from global memory. On an H200 0.35
//    of the speed of the first: lanes read x 128 bytes apart.
// A weight is one rounding, w = d q + m, and then one multiply-add. A nibble becomes a float by the
// exponent of 2^23 and a subtraction: exact, and twice the rate of a conversion on Maxwell.
#include "kernels/device.cuh"
#include "kernels/gemv.h"

__device__ __forceinline__ float nibble(unsigned word, int shift) {
  return bits_to_float(0x4b000000u | (word >> shift & 15)) - 8388608.f;
}

/// sum[j] += w[j] x_low[j] + w[j + 4] x_high[j] for the 8 weights in `word`: low nibbles first.
__device__ __forceinline__ void multiply_add(float4& sum, unsigned word, float d, float m, float4 x_low,
                                             float4 x_high) {
  sum.x = fmaf(fmaf(d, nibble(word, 0), m), x_low.x, sum.x);
  sum.y = fmaf(fmaf(d, nibble(word, 8), m), x_low.y, sum.y);
  sum.z = fmaf(fmaf(d, nibble(word, 16), m), x_low.z, sum.z);
  sum.w = fmaf(fmaf(d, nibble(word, 24), m), x_low.w, sum.w);
  sum.x = fmaf(fmaf(d, nibble(word, 4), m), x_high.x, sum.x);
  sum.y = fmaf(fmaf(d, nibble(word, 12), m), x_high.y, sum.y);
  sum.z = fmaf(fmaf(d, nibble(word, 20), m), x_high.z, sum.z);
  sum.w = fmaf(fmaf(d, nibble(word, 28), m), x_high.w, sum.w);
}

/// One row: its words of 8 weights and its blocks' (d, m) pairs.
struct Row {
  const unsigned* words;
  const unsigned* scales;
};
__device__ __forceinline__ Row row_of(const Matrix& a, int row) {
  const long long block = static_cast<long long>(row) * (a.stride / 32);
  return {static_cast<const unsigned*>(a.values) + 4 * block,
          reinterpret_cast<const unsigned*>(a.scales) + block};
}

template <bool kReadonly>
__device__ __forceinline__ void gemv_q4_1_word(const GemvParams& p) {
  DYN_SHARED(float4, x);  // (stride / 4)
  for (int i = static_cast<int>(threadIdx.x); i < p.a.stride / 4; i += static_cast<int>(blockDim.x)) {
    x[i] = reinterpret_cast<const float4*>(p.x)[i];
  }
  __syncthreads();
  const int first = 2 * static_cast<int>(blockIdx.x * (blockDim.x / kWarp) + threadIdx.x / kWarp);
  if (first >= p.a.rows) return;  // whole warps leave
  const bool has_second = first + 1 < p.a.rows;
  const Row a = row_of(p.a, first);
  const Row b = row_of(p.a, has_second ? first + 1 : first);
  float4 sum_a = {0.f, 0.f, 0.f, 0.f};
  float4 sum_b = {0.f, 0.f, 0.f, 0.f};
#pragma unroll 2
  for (int i = static_cast<int>(threadIdx.x % kWarp); i < p.a.stride / 8; i += static_cast<int>(kWarp)) {
    const int block = i / 4;
    const float4 x_low = x[8 * block + i % 4];
    const float4 x_high = x[8 * block + 4 + i % 4];
    const unsigned scales_a = load<kReadonly>(a.scales + block);
    const unsigned scales_b = load<kReadonly>(b.scales + block);
    multiply_add(sum_a, load<kReadonly>(a.words + i), low_half_to_float(scales_a),
                 high_half_to_float(scales_a), x_low, x_high);
    multiply_add(sum_b, load<kReadonly>(b.words + i), low_half_to_float(scales_b),
                 high_half_to_float(scales_b), x_low, x_high);
  }
  const float total_a = warp_sum((sum_a.x + sum_a.y) + (sum_a.z + sum_a.w));
  const float total_b = warp_sum((sum_b.x + sum_b.y) + (sum_b.z + sum_b.w));
  if (threadIdx.x % kWarp == 0) {
    p.y[first] = total_a;
    if (has_second) p.y[first + 1] = total_b;
  }
}

extern "C" __global__ void gemv_q4_1_word_shared(GemvParams p) { gemv_q4_1_word<false>(p); }
extern "C" __global__ void gemv_q4_1_word_shared_ldg(GemvParams p) { gemv_q4_1_word<true>(p); }

extern "C" __global__ void gemv_q4_1_block(GemvParams p) {
  const int row = static_cast<int>(blockIdx.x * (blockDim.x / kWarp) + threadIdx.x / kWarp);
  if (row >= p.a.rows) return;  // whole warps leave
  const Row a = row_of(p.a, row);
  const uint4* const blocks = reinterpret_cast<const uint4*>(a.words);
  const float4* const x = reinterpret_cast<const float4*>(p.x);
  float4 sum = {0.f, 0.f, 0.f, 0.f};
  for (int i = static_cast<int>(threadIdx.x % kWarp); i < p.a.stride / 32; i += static_cast<int>(kWarp)) {
    const uint4 q = blocks[i];
    const float d = low_half_to_float(a.scales[i]);
    const float m = high_half_to_float(a.scales[i]);
    multiply_add(sum, q.x, d, m, x[8 * i], x[8 * i + 4]);
    multiply_add(sum, q.y, d, m, x[8 * i + 1], x[8 * i + 5]);
    multiply_add(sum, q.z, d, m, x[8 * i + 2], x[8 * i + 6]);
    multiply_add(sum, q.w, d, m, x[8 * i + 3], x[8 * i + 7]);
  }
  const float total = warp_sum((sum.x + sum.y) + (sum.z + sum.w));
  if (threadIdx.x % kWarp == 0) p.y[row] = total;
}
