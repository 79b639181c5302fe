#pragma once
// The language of kernels: besides its op's header, all that a kernel includes. The same names stand for CUDA
// (kernels/cuda) and for the SIMT device (kernels/simt), with the same results to the bit. kernels/README.md
// lists them.
#include "kernels/types.h"
#ifdef __CUDACC_RTC__
#include "kernels/cuda/language.cuh"
#else
#include "kernels/simt/language.hpp"
#endif

constexpr unsigned kWarp = 32;
constexpr unsigned kFullWarp = 0xffffffffu;

/// A load that goes through the read-only cache or does not: a question to each function that takes kReadonly.
template <bool kReadonly, class T>
__device__ __forceinline__ T load(const T* p) {
  if constexpr (kReadonly) {
    return load_readonly(p);
  } else {
    return *p;
  }
}

/// Eight binary16 as 16 bytes hold them, the first in the low half of x.
struct Floats8 {
  float v[8];
};
__device__ __forceinline__ Floats8 halfs_to_floats(uint4 h) {
  return {{low_half_to_float(h.x), high_half_to_float(h.x), low_half_to_float(h.y), high_half_to_float(h.y),
           low_half_to_float(h.z), high_half_to_float(h.z), low_half_to_float(h.w), high_half_to_float(h.w)}};
}

// min_of and max_of: of floats (in the languages), of int and of unsigned; never of two types. Of a NaN and a
// number the number, of two NaNs a NaN; -0 < +0.
__device__ __forceinline__ int min_of(int a, int b) { return a < b ? a : b; }
__device__ __forceinline__ int max_of(int a, int b) { return a > b ? a : b; }
__device__ __forceinline__ unsigned min_of(unsigned a, unsigned b) { return a < b ? a : b; }
__device__ __forceinline__ unsigned max_of(unsigned a, unsigned b) { return a > b ? a : b; }

/// The larger of two; b if either is NaN or both are zeros: a NaN in b is kept, unlike with max_of.
__device__ __forceinline__ float larger(float a, float b) { return a > b ? a : b; }

/// exp(x), at most 0.94 units in the last place off, the same bits everywhere: 2^n exp(r) with |r| <= ln(2)/2,
/// r in two steps (Cody and Waite), exp(r) by its series to r^7, 2^n in two factors so that denormal results
/// are rounded once.
__device__ __forceinline__ float exp_f32(float x) {
  if (x > 88.8f) return bits_to_float(0x7f800000u);
  if (x < -104.f) return 0.f;
  const float n = rintf(x * 1.44269504f);
  float r = fmaf(n, -0.693145752f, x);
  r = fmaf(n, -1.42860677e-6f, r);
  float p = 1.98412698e-4f;
  p = fmaf(p, r, 1.38888889e-3f);
  p = fmaf(p, r, 8.33333333e-3f);
  p = fmaf(p, r, 4.16666667e-2f);
  p = fmaf(p, r, 1.66666667e-1f);
  p = fmaf(p, r, 0.5f);
  p = fmaf(p, r, 1.f);
  p = fmaf(p, r, 1.f);
  const int exponent = static_cast<int>(n);
  const int first = exponent / 2;
  const float scaled = p * bits_to_float(static_cast<unsigned>(first + 127) << 23);
  return scaled * bits_to_float(static_cast<unsigned>(exponent - first + 127) << 23);
}

/// The calling thread's place in a one-dimensional grid, for ops whose unit is an element.
__device__ __forceinline__ int thread_in_grid() {
  return static_cast<int>(blockIdx.x * blockDim.x + threadIdx.x);
}

/// The threads that do one unit of an op (a row, a head) together. Their number belongs to the op's function and
/// not to the launch, and with it the order of its sums: 32 is a warp, of which a block may have several; any other
/// number is the whole block.
template <int kThreads>
struct Group {
  static_assert(kThreads >= 32 && kThreads % 32 == 0 && kThreads <= 1024, "whole warps of one block");
  static constexpr int kSize = kThreads;
  int thread;  // in the group
  int rank;    // of the group in the grid,
  int count;   // which has so many

  /// The one that the calling thread belongs to. A group that is no warp is launched in blocks of its size.
  static __device__ __forceinline__ Group mine() {
    const unsigned in_block = blockDim.x / kThreads;
    return {static_cast<int>(threadIdx.x % kThreads),
            static_cast<int>(blockIdx.x * in_block + threadIdx.x / kThreads),
            static_cast<int>(gridDim.x * in_block)};
  }
  __device__ __forceinline__ void sync() const {
    if constexpr (kThreads == 32) {
      __syncwarp();
    } else {
      __syncthreads();
    }
  }
};

/// The sum of v over the group, in every thread. Order: xor pairs within a warp, then the warps' sums likewise.
/// `scratch` is shared memory that nobody else uses until the group's next sync().
template <int kThreads>
__device__ __forceinline__ float group_sum(const Group<kThreads>& group, float v, float (&scratch)[32]) {
  const int lane = group.thread % 32;
  v = warp_sum(v);
  if (lane == 0) scratch[group.thread / 32] = v;
  group.sync();
  return warp_sum(lane < kThreads / 32 ? scratch[lane] : 0.f);
}

/// A barrier of a whole resident grid; `state` is two zeroed words of device memory. All threads of all
/// blocks come.
__device__ __forceinline__ void grid_barrier(unsigned* state) {
  __syncthreads();
  if (threadIdx.x == 0) {
    const unsigned generation = load_acquire(state + 1);
    if (atomic_add_acq_rel(state, 1u) == gridDim.x * gridDim.y - 1) {
      store_relaxed(state, 0u);
      store_release(state + 1, generation + 1);
    } else {
      spin_until(state + 1, [generation](unsigned now) { return now != generation; });
    }
  }
  __syncthreads();
}
