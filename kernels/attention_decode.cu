// A block a query head in all of them: at batch 1 that is n_heads blocks, fewer than an M40's 24 SMs for
// small models.
// 1. tile: 128 positions a step, a thread a position for the scores (no shuffles), then a thread an output
//    element over the tile. One rescale a tile.
// 2. tile_ldg: K and V through the read-only cache.
// 3. warps: eight warps, each a position in turn with its lanes over head_dim; scores by warp_sum, one
//    rescale a position; the warps' parts are merged at the end. K and V are read in whole rows.
// Softmax runs online: maximum, sum and output are rescaled when the maximum grows (Milakov and Gimelshein,
// 2018).
#include "kernels/attention_decode.h"

#include "kernels/device.cuh"

constexpr int kTile = 128;  // positions and threads
constexpr int kMaxHeadDim = 128;

__device__ __forceinline__ float minus_infinity() { return bits_to_float(0xff800000u); }

/// exp(score - best); of a score of -infinity 0, also while that is the best so far.
__device__ __forceinline__ float exp_below(float best, float score) {
  return score == minus_infinity() ? 0.f : exp_f32(score - best);
}

template <bool kReadonly>
__device__ __forceinline__ void attention_tile(const AttentionDecodeParams& p) {
  SHARED(float[kMaxHeadDim], q);
  SHARED(float[kTile], probability);
  SHARED(float[kTile], part);
  SHARED(float[kTile / 32], warp_best);
  SHARED(float[kTile / 32], warp_total);
  const int thread = static_cast<int>(threadIdx.x);
  const int head = static_cast<int>(blockIdx.x);
  const int kv_head = head / (p.n_heads / p.n_kv_heads);
  const half* const k = p.k_cache + static_cast<long long>(kv_head) * p.head_stride;
  const half* const v = p.v_cache + static_cast<long long>(kv_head) * p.head_stride;
  const int n_positions = *p.position + 1;
  // Output elements: thread `dim` of `groups` groups; each group takes every groups-th position of a tile.
  const int groups = kTile / p.head_dim;
  const int group = thread / p.head_dim;
  const int dim = thread % p.head_dim;

  if (thread < p.head_dim) q[thread] = p.q[head * p.head_dim + thread];
  __syncthreads();
  float best = minus_infinity();
  float total = 0.f;
  float out = 0.f;
  for (int start = 0; start < n_positions; start += kTile) {
    const int n = n_positions - start < kTile ? n_positions - start : kTile;
    float score = minus_infinity();
    if (thread < n) {
      const uint4* const row =
          reinterpret_cast<const uint4*>(k + static_cast<long long>(start + thread) * p.position_stride);
      float4 sum = {0.f, 0.f, 0.f, 0.f};
#pragma unroll 4
      for (int i = 0; i < p.head_dim / 8; ++i) {
        const Floats8 key = halfs_to_floats(load<kReadonly>(row + i));
        sum.x = fmaf(key.v[0], q[8 * i], sum.x);
        sum.y = fmaf(key.v[1], q[8 * i + 1], sum.y);
        sum.z = fmaf(key.v[2], q[8 * i + 2], sum.z);
        sum.w = fmaf(key.v[3], q[8 * i + 3], sum.w);
        sum.x = fmaf(key.v[4], q[8 * i + 4], sum.x);
        sum.y = fmaf(key.v[5], q[8 * i + 5], sum.y);
        sum.z = fmaf(key.v[6], q[8 * i + 6], sum.z);
        sum.w = fmaf(key.v[7], q[8 * i + 7], sum.w);
      }
      score = ((sum.x + sum.y) + (sum.z + sum.w)) * p.scale;
    }
    const float warp_largest = warp_max(score);
    if (thread % 32 == 0) warp_best[thread / 32] = warp_largest;
    __syncthreads();
    float new_best = best;
    for (int w = 0; w < kTile / 32; ++w) new_best = larger(new_best, warp_best[w]);
    const float mine = thread < n ? exp_below(new_best, score) : 0.f;
    probability[thread] = mine;
    const float warp_sum_of_mine = warp_sum(mine);
    if (thread % 32 == 0) warp_total[thread / 32] = warp_sum_of_mine;
    __syncthreads();
    const float keep = exp_below(new_best, best);  // 0 for the first tile
    best = new_best;
    total = fmaf(total, keep, (warp_total[0] + warp_total[1]) + (warp_total[2] + warp_total[3]));
    out *= keep;
    if (group < groups) {
#pragma unroll 8
      for (int j = group; j < n; j += groups) {
        const half* const at = v + static_cast<long long>(start + j) * p.position_stride + dim;
        const half value = {load<kReadonly>(&at->bits)};
        out = fmaf(probability[j], half_to_float(value), out);
      }
    }
    // No barrier here: what the next tile writes before its first one was last read before this tile's second.
  }
  part[thread] = out;
  __syncthreads();
  if (thread < p.head_dim) {
    float sum = part[thread];
    for (int g = 1; g < groups; ++g) sum += part[g * p.head_dim + thread];
    p.y[head * p.head_dim + thread] = sum / total;
  }
}

extern "C" __global__ void attention_decode_tile(AttentionDecodeParams p) { attention_tile<false>(p); }
extern "C" __global__ void attention_decode_tile_ldg(AttentionDecodeParams p) { attention_tile<true>(p); }

constexpr int kWarps = 8;
constexpr int kDimsPerLane = kMaxHeadDim / 32;

extern "C" __global__ void attention_decode_warps(AttentionDecodeParams p) {
  SHARED(float[kWarps][kMaxHeadDim], parts);
  SHARED(float[kWarps], bests);
  SHARED(float[kWarps], totals);
  const int lane = static_cast<int>(threadIdx.x % kWarp);
  const int warp = static_cast<int>(threadIdx.x / kWarp);
  const int head = static_cast<int>(blockIdx.x);
  const int kv_head = head / (p.n_heads / p.n_kv_heads);
  const half* const k = p.k_cache + static_cast<long long>(kv_head) * p.head_stride;
  const half* const v = p.v_cache + static_cast<long long>(kv_head) * p.head_stride;
  const int n_positions = *p.position + 1;
  float q[kDimsPerLane];
  float out[kDimsPerLane];
  for (int i = 0; i < kDimsPerLane; ++i) {
    const int dim = lane + 32 * i;
    q[i] = dim < p.head_dim ? p.q[head * p.head_dim + dim] : 0.f;
    out[i] = 0.f;
  }
  float best = minus_infinity();
  float total = 0.f;
  for (int j = warp; j < n_positions; j += kWarps) {
    const long long row = static_cast<long long>(j) * p.position_stride;
    float sum = 0.f;
    for (int i = 0; i < kDimsPerLane; ++i) {
      const int dim = lane + 32 * i;
      if (dim < p.head_dim) sum = fmaf(half_to_float(k[row + dim]), q[i], sum);
    }
    const float score = warp_sum(sum) * p.scale;
    const float new_best = larger(best, score);
    const float keep = exp_below(new_best, best);
    const float probability = exp_below(new_best, score);
    best = new_best;
    total = fmaf(total, keep, probability);
    for (int i = 0; i < kDimsPerLane; ++i) {
      const int dim = lane + 32 * i;
      if (dim < p.head_dim) out[i] = fmaf(probability, half_to_float(v[row + dim]), out[i] * keep);
    }
  }
  for (int i = 0; i < kDimsPerLane; ++i) {
    const int dim = lane + 32 * i;
    if (dim < p.head_dim) parts[warp][dim] = out[i];
  }
  if (lane == 0) {
    bests[warp] = best;
    totals[warp] = total;
  }
  __syncthreads();
  const int dim = static_cast<int>(threadIdx.x);
  if (dim >= p.head_dim) return;
  float overall = bests[0];
  for (int w = 1; w < kWarps; ++w) overall = larger(overall, bests[w]);
  float numerator = 0.f;
  float denominator = 0.f;
  for (int w = 0; w < kWarps; ++w) {  // a warp without positions has best -infinity: its factor is 0
    const float factor = exp_f32(bests[w] - overall);
    numerator = fmaf(parts[w][dim], factor, numerator);
    denominator = fmaf(totals[w], factor, denominator);
  }
  p.y[head * p.head_dim + dim] = numerator / denominator;
}
