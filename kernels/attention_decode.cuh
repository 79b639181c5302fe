#pragma once
// A block a query head in all of them: at batch 1 that is n_heads blocks, fewer than an M40's 24 SMs for
// small models.
// 1. tile: 128 positions a step, a thread a position for the scores (no shuffles), then a thread an output
//    element over the tile. One rescale a tile. With K and V through the read-only cache (kReadonly) it is as fast
//    on an H100 and an H200.
// 2. warps: eight warps, each a position in turn with its lanes over head_dim; scores by warp_sum, one
//    rescale a position; the warps' parts are merged at the end. K and V are read in whole rows.
// Softmax runs online: maximum, sum and output are rescaled when the maximum grows (Milakov and Gimelshein,
// 2018).
#include "kernels/attention_decode.h"
#include "kernels/device.cuh"

namespace ops::attention_decode {

constexpr int kTile = 128;  // positions and threads
constexpr int kMaxHeadDim = 128;

__device__ __forceinline__ float minus_infinity() { return bits_to_float(0xff800000u); }

/// exp(score - best); of a score of -infinity 0, also while that is the best so far.
__device__ __forceinline__ float exp_below(float best, float score) {
  return score == minus_infinity() ? 0.f : exp_f32(score - best);
}

/// What one head of one row reads and writes.
struct Sequence {
  const float* q;  // (head_dim)
  const half* k;   // of its KV head, from position 0 on
  const half* v;
  float* y;  // (head_dim)
  int n_positions;
};
__device__ __forceinline__ Sequence sequence_of(const AttentionDecodeParams& p, int unit) {
  const int row = unit / p.n_heads;
  const int kv_head = unit % p.n_heads / (p.n_heads / p.n_kv_heads);
  const long long start =
      p.sequence[row] * p.cache.sequence_stride + static_cast<long long>(kv_head) * p.cache.head_stride;
  const long long output = static_cast<long long>(unit) * p.head_dim;
  return {p.q + output, p.cache.k + start, p.cache.v + start, p.y + output, p.position[row] + 1};
}

struct TileShared {
  float q[kMaxHeadDim];
  float probability[kTile];
  float part[kTile];
  float warp_best[kTile / 32];
  float warp_total[kTile / 32];
};

/// One head of one row: `unit` counts through the heads of all rows. The group's sync() must stand between two uses
/// of `shared`.
template <bool kReadonly>
__device__ __forceinline__ void tile(const Group<kTile>& block, const AttentionDecodeParams& p, int unit,
                                     TileShared& shared) {
  const int thread = block.thread;
  const Sequence sequence = sequence_of(p, unit);
  const half* const __restrict__ k = sequence.k;
  const half* const __restrict__ v = sequence.v;
  const int n_positions = sequence.n_positions;
  // Output elements: thread `dim` of `groups` groups; each group takes every groups-th position of a tile.
  const int groups = kTile / p.head_dim;
  const int group = thread / p.head_dim;
  const int dim = thread % p.head_dim;

  if (thread < p.head_dim) shared.q[thread] = sequence.q[thread];
  block.sync();
  float best = minus_infinity();
  float total = 0.f;
  float out = 0.f;
  for (int start = 0; start < n_positions; start += kTile) {
    const int n = n_positions - start < kTile ? n_positions - start : kTile;
    float score = minus_infinity();
    if (thread < n) {
      const uint4* const row = reinterpret_cast<const uint4*>(k + static_cast<long long>(start + thread) *
                                                                      p.cache.position_stride);
      float4 sum = {0.f, 0.f, 0.f, 0.f};
#pragma unroll 4
      for (int i = 0; i < p.head_dim / 8; ++i) {
        const Floats8 key = halfs_to_floats(load<kReadonly>(row + i));
        sum.x = fmaf(key.v[0], shared.q[8 * i], sum.x);
        sum.y = fmaf(key.v[1], shared.q[8 * i + 1], sum.y);
        sum.z = fmaf(key.v[2], shared.q[8 * i + 2], sum.z);
        sum.w = fmaf(key.v[3], shared.q[8 * i + 3], sum.w);
        sum.x = fmaf(key.v[4], shared.q[8 * i + 4], sum.x);
        sum.y = fmaf(key.v[5], shared.q[8 * i + 5], sum.y);
        sum.z = fmaf(key.v[6], shared.q[8 * i + 6], sum.z);
        sum.w = fmaf(key.v[7], shared.q[8 * i + 7], sum.w);
      }
      score = ((sum.x + sum.y) + (sum.z + sum.w)) * p.scale;
    }
    const float warp_largest = warp_max(score);
    if (thread % 32 == 0) shared.warp_best[thread / 32] = warp_largest;
    block.sync();
    float new_best = best;
    for (int w = 0; w < kTile / 32; ++w) new_best = larger(new_best, shared.warp_best[w]);
    const float mine = thread < n ? exp_below(new_best, score) : 0.f;
    shared.probability[thread] = mine;
    const float warp_sum_of_mine = warp_sum(mine);
    if (thread % 32 == 0) shared.warp_total[thread / 32] = warp_sum_of_mine;
    block.sync();
    const float keep = exp_below(new_best, best);  // 0 for the first tile
    best = new_best;
    total =
        fmaf(total, keep,
             (shared.warp_total[0] + shared.warp_total[1]) + (shared.warp_total[2] + shared.warp_total[3]));
    out *= keep;
    if (group < groups) {
#pragma unroll 8
      for (int j = group; j < n; j += groups) {
        const half* const at = v + static_cast<long long>(start + j) * p.cache.position_stride + dim;
        const half value = {load<kReadonly>(&at->bits)};
        out = fmaf(shared.probability[j], half_to_float(value), out);
      }
    }
    // No barrier here: what the next tile writes before its first one was last read before this tile's second.
  }
  shared.part[thread] = out;
  block.sync();
  if (thread < p.head_dim) {
    float sum = shared.part[thread];
    for (int g = 1; g < groups; ++g) sum += shared.part[g * p.head_dim + thread];
    sequence.y[thread] = sum / total;
  }
}

constexpr int kWarps = 8;
constexpr int kDimsPerLane = kMaxHeadDim / 32;

struct WarpsShared {
  float parts[kWarps][kMaxHeadDim];
  float bests[kWarps];
  float totals[kWarps];
};

/// One head of one row, as tile() does it.
__device__ __forceinline__ void warps(const Group<32 * kWarps>& block, const AttentionDecodeParams& p,
                                      int unit, WarpsShared& shared) {
  const int lane = block.thread % 32;
  const int warp = block.thread / 32;
  const Sequence sequence = sequence_of(p, unit);
  const half* const __restrict__ k = sequence.k;
  const half* const __restrict__ v = sequence.v;
  const int n_positions = sequence.n_positions;
  float q[kDimsPerLane];
  float out[kDimsPerLane];
  for (int i = 0; i < kDimsPerLane; ++i) {
    const int dim = lane + 32 * i;
    q[i] = dim < p.head_dim ? sequence.q[dim] : 0.f;
    out[i] = 0.f;
  }
  float best = minus_infinity();
  float total = 0.f;
  for (int j = warp; j < n_positions; j += kWarps) {
    const long long row = static_cast<long long>(j) * p.cache.position_stride;
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
    if (dim < p.head_dim) shared.parts[warp][dim] = out[i];
  }
  if (lane == 0) {
    shared.bests[warp] = best;
    shared.totals[warp] = total;
  }
  block.sync();
  const int dim = block.thread;
  if (dim < p.head_dim) {
    float overall = shared.bests[0];
    for (int w = 1; w < kWarps; ++w) overall = larger(overall, shared.bests[w]);
    float numerator = 0.f;
    float denominator = 0.f;
    for (int w = 0; w < kWarps; ++w) {  // a warp without positions has best -infinity: its factor is 0
      const float factor = exp_f32(shared.bests[w] - overall);
      numerator = fmaf(shared.parts[w][dim], factor, numerator);
      denominator = fmaf(shared.totals[w], factor, denominator);
    }
    sequence.y[dim] = numerator / denominator;
  }
}

}  // namespace ops::attention_decode
