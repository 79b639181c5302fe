// One block: 200 KB of logits a token are read in microseconds, and one block needs no second launch to join
// parts.
#include "kernels/argmax.h"

#include "kernels/device.cuh"

/// A candidate; index < 0: none yet.
struct Candidate {
  float value;
  int index;
};

__device__ __forceinline__ bool is_finite(float x) { return (float_to_bits(x) & 0x7f800000u) != 0x7f800000u; }

/// What is not finite stands before all numbers; among its own kind the first counts.
__device__ __forceinline__ Candidate better(Candidate a, Candidate b) {
  if (b.index < 0) return a;
  if (a.index < 0) return b;
  const bool a_is_finite = is_finite(a.value);
  if (a_is_finite != is_finite(b.value)) return a_is_finite ? b : a;
  if (a.value == b.value || !a_is_finite) return a.index < b.index ? a : b;
  return a.value > b.value ? a : b;
}

__device__ __forceinline__ Candidate best_of_warp(Candidate c) {
  for (unsigned offset = 16; offset != 0; offset /= 2) {
    const Candidate other = {shuffle_xor(kFullWarp, c.value, offset),
                             shuffle_xor(kFullWarp, c.index, offset)};
    c = better(c, other);
  }
  return c;
}

extern "C" __global__ void argmax_block(ArgmaxParams p) {
  SHARED(Candidate[32], warps);
  const unsigned lane = threadIdx.x % kWarp;
  Candidate best = {0.f, -1};
  for (int i = static_cast<int>(threadIdx.x); i < p.n; i += static_cast<int>(blockDim.x)) {
    best = better(best, {p.x[i], i});
  }
  best = best_of_warp(best);
  if (lane == 0) warps[threadIdx.x / kWarp] = best;
  __syncthreads();
  if (threadIdx.x >= kWarp) return;  // whole warps leave
  best = lane < blockDim.x / kWarp ? warps[lane] : Candidate{0.f, -1};
  best = best_of_warp(best);
  if (threadIdx.x == 0) *p.index = is_finite(best.value) ? best.index : ~best.index;
}
