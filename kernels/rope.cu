// A thread a pair. Cosines and sines come from a table by position: float angles err by 2.7e-3 at position
// 131071, and a table is the same on every device.
#include "kernels/rope.h"

#include "kernels/device.cuh"

/// Pair i of a head stands at `first` and `second` of it.
__device__ __forceinline__ void rotate(const RopeParams& p, int head, int i, int first, int second) {
  float* const x = p.x + head * p.head_dim;
  const float2 turn = p.table[static_cast<long long>(*p.position) * (p.n_rotated / 2) + i];  // cosine, sine
  const float a = x[first];
  const float b = x[second];
  x[first] = fmaf(a, turn.x, -(b * turn.y));
  x[second] = fmaf(a, turn.y, b * turn.x);
}

extern "C" __global__ void rope_normal(RopeParams p) {
  const int pair = static_cast<int>(blockIdx.x * blockDim.x + threadIdx.x);
  const int pairs = p.n_rotated / 2;
  if (pair >= p.n_heads * pairs) return;
  const int i = pair % pairs;
  rotate(p, pair / pairs, i, 2 * i, 2 * i + 1);
}

extern "C" __global__ void rope_neox(RopeParams p) {
  const int pair = static_cast<int>(blockIdx.x * blockDim.x + threadIdx.x);
  const int pairs = p.n_rotated / 2;
  if (pair >= p.n_heads * pairs) return;
  const int i = pair % pairs;
  rotate(p, pair / pairs, i, i, i + pairs);
}
