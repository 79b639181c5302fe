#pragma once
// 1. block: one block a row: 200 KB of logits a token are read in microseconds, and one block needs no second
//    launch to join parts.
// 2. blocks: as many blocks as the GPU has SMs, each its share, and a second launch that joins their candidates.
#include "kernels/argmax.h"
#include "kernels/device.cuh"

namespace ops::argmax {

constexpr int kBlock = 1024;  // of its kernels; the choice is the same by any number of threads

using Candidate = ArgmaxCandidate;

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

struct Shared {
  Candidate warps[32];
};

/// The best of the group's candidates, one a thread, in the threads of its first warp. The group's sync() must stand
/// between two uses of `shared`.
template <int kThreads>
__device__ __forceinline__ Candidate best_of_group(const Group<kThreads>& group, Candidate best,
                                                   Shared& shared) {
  const int lane = group.thread % 32;
  best = best_of_warp(best);
  if (lane == 0) shared.warps[group.thread / 32] = best;
  group.sync();
  if (group.thread < 32) {
    best = {0.f, -1};
    if (lane < kThreads / 32) best = shared.warps[lane];
    best = best_of_warp(best);
  }
  return best;
}

__device__ __forceinline__ int index_of(Candidate best) {
  return is_finite(best.value) ? best.index : ~best.index;
}

/// One row of n values, whole.
__device__ __forceinline__ void row(const Group<kBlock>& group, const ArgmaxParams& p, int row,
                                    Shared& shared) {
  const float* const __restrict__ x = p.x + static_cast<long long>(row) * p.n;
  Candidate best = {0.f, -1};
  for (int i = group.thread; i < p.n; i += kBlock) best = better(best, {x[i], i});
  best = best_of_group(group, best, shared);
  if (group.thread == 0) p.index[row] = index_of(best);
}

/// Part `part` of p.n_parts of one row: every n_parts-th piece of a value a thread.
template <int kThreads>
__device__ __forceinline__ void part(const Group<kThreads>& group, const ArgmaxParams& p, int row, int part,
                                     Shared& shared) {
  const float* const __restrict__ x = p.x + static_cast<long long>(row) * p.n;
  Candidate best = {0.f, -1};
  for (long long i = static_cast<long long>(part) * kThreads + group.thread; i < p.n;
       i += static_cast<long long>(p.n_parts) * kThreads) {
    best = better(best, {x[i], static_cast<int>(i)});
  }
  best = best_of_group(group, best, shared);
  if (group.thread == 0) p.parts[row * p.n_parts + part] = best;
}

/// The best of a row's parts.
__device__ __forceinline__ void join(const Group<32>& warp, const ArgmaxParams& p, int row) {
  Candidate best = {0.f, -1};
  for (int i = warp.thread; i < p.n_parts; i += 32) best = better(best, p.parts[row * p.n_parts + i]);
  best = best_of_warp(best);
  if (warp.thread == 0) p.index[row] = index_of(best);
}

}  // namespace ops::argmax
