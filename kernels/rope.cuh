#pragma once
// A thread a pair. Cosines and sines come from a table by position: float angles err by 2.7e-3 at position
// 131071, and a table is the same on every device.
#include "kernels/device.cuh"
#include "kernels/rope.h"

namespace ops::rope {

/// The pair (a, b) by the angle whose cosine and sine `turn` holds.
__device__ __forceinline__ float2 turned(float2 turn, float a, float b) {
  return {fmaf(a, turn.x, -(b * turn.y)), fmaf(a, turn.y, b * turn.x)};
}

/// Pair i of a head stands at `first` and `second` of it. `head` counts through the heads of all rows.
__device__ __forceinline__ void rotate(const RopeParams& p, int head, int i, int first, int second) {
  const int row = head / p.n_heads;
  float* const x = p.x + static_cast<long long>(head) * p.head_dim;
  const float2 turn =
      p.table[static_cast<long long>(p.position[row]) * (p.n_rotated / 2) + i];  // cosine, sine
  const float2 pair = turned(turn, x[first], x[second]);
  x[first] = pair.x;
  x[second] = pair.y;
}

/// `pair` counts through the pairs of all heads of all rows.
__device__ __forceinline__ void normal_pair(const RopeParams& p, int pair) {
  const int pairs = p.n_rotated / 2;
  const int i = pair % pairs;
  rotate(p, pair / pairs, i, 2 * i, 2 * i + 1);
}

__device__ __forceinline__ void neox_pair(const RopeParams& p, int pair) {
  const int pairs = p.n_rotated / 2;
  const int i = pair % pairs;
  rotate(p, pair / pairs, i, i, i + pairs);
}

__device__ __forceinline__ int n_pairs(const RopeParams& p) {
  return p.n_rows * p.n_heads * (p.n_rotated / 2);
}

}  // namespace ops::rope
