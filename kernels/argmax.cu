// One block: 200 KB of logits a token are read in microseconds, and one block needs no second launch to join
// parts.
#include "kernels/argmax.h"

#include "kernels/device.cuh"

/// A candidate; index < 0: none yet.
struct Candidate {
  float value;
  int index;
};

__device__ __forceinline__ Candidate better(Candidate a, Candidate b) {
  if (b.index < 0) return a;
  if (a.index < 0) return b;
  if (a.value == b.value) return a.index < b.index ? a : b;
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
    const float value = p.x[i];
    if (value == value) best = better(best, {value, i});
  }
  best = best_of_warp(best);
  if (lane == 0) warps[threadIdx.x / kWarp] = best;
  __syncthreads();
  if (threadIdx.x >= kWarp) return;  // whole warps leave
  best = lane < blockDim.x / kWarp ? warps[lane] : Candidate{0.f, -1};
  best = best_of_warp(best);
  if (threadIdx.x == 0) *p.index = best.index < 0 ? 0 : best.index;
}
