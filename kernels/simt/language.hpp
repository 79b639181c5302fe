#pragma once
// The language of kernels on the SIMT device. Names, arithmetic and order are those of
// kernels/cuda/language.cuh.
#include <immintrin.h>

#include <bit>
#include <cmath>
#include <cstddef>
#include <type_traits>

#include "kernels/simt/scheduler.hpp"
#include "kernels/types.h"

#define __device__
#define __global__
#define __forceinline__ inline __attribute__((always_inline))
#define __restrict__ __restrict
#define __launch_bounds__(...)

namespace simt {
struct Index {
  unsigned x, y;
};
#if defined(M40LLM_CHECKED)
__forceinline__ Index thread_index() { return {checked_thread(), 0}; }
__forceinline__ Index block_index() { return {checked_block_x(), checked_block_y()}; }
__forceinline__ Index block_size() { return {checked_block_size(), 1}; }
__forceinline__ Index grid_size() { return {checked_grid_x(), checked_grid_y()}; }
#else
__forceinline__ Index thread_index() { return {current->thread, 0}; }
__forceinline__ Index block_index() { return {current->block->x, current->block->y}; }
__forceinline__ Index block_size() { return {current->block->threads, 1}; }
__forceinline__ Index grid_size() { return {current->block->grid_x, current->block->grid_y}; }
#endif

template <class T, class Name>
T& block_shared(Name) {
  static constexpr char name = 0;  // one for each SHARED() in the code, as each has its own lambda
  return *reinterpret_cast<T*>(shared(&name, sizeof(T), alignof(T) < 16 ? 16 : alignof(T)));
}
}  // namespace simt

#define threadIdx (::simt::thread_index())
#define blockIdx (::simt::block_index())
#define blockDim (::simt::block_size())
#define gridDim (::simt::grid_size())
#define SHARED(type_, name) std::type_identity_t<type_>& name = ::simt::block_shared<type_>([] {})
#define DYN_SHARED(type_, name) type_* const name = reinterpret_cast<type_*>(::simt::dynamic_shared())

__forceinline__ void __syncthreads() { simt::barrier(); }
__forceinline__ void __syncwarp(unsigned mask = 0xffffffffu) {
  simt::collective(simt::CollectiveKind::sync, mask, 0, 0);
}

__forceinline__ unsigned float_to_bits(float x) { return std::bit_cast<unsigned>(x); }
__forceinline__ float bits_to_float(unsigned bits) { return std::bit_cast<float>(bits); }

__forceinline__ unsigned byte_in_mantissa(unsigned word, int i) {
  return 0x4b000000u | (word >> (8 * i) & 0xffu);
}

/// sum + a . b over the four signed bytes of each; it wraps around.
__forceinline__ int dot4(unsigned a, unsigned b, int sum) {
  unsigned total = static_cast<unsigned>(sum);
  for (int i = 0; i < 32; i += 8) {
    const int product = static_cast<signed char>(a >> i) * static_cast<signed char>(b >> i);
    total += static_cast<unsigned>(product);
  }
  return static_cast<int>(total);
}

// x86 has other rules for NaN and zeros; these are PTX's.
__forceinline__ float min_of(float a, float b) {
  if (a != a) return b;
  if (b != b) return a;
  if (a == b) return bits_to_float(float_to_bits(a) | float_to_bits(b));  // of two zeros -0 if there is one
  return a < b ? a : b;
}
__forceinline__ float max_of(float a, float b) {
  if (a != a) return b;
  if (b != b) return a;
  if (a == b) return bits_to_float(float_to_bits(a) & float_to_bits(b));  // of two zeros +0 if there is one
  return a > b ? a : b;
}

__forceinline__ float half_to_float(half h) { return _cvtsh_ss(h.bits); }
/// NaN becomes 0x7fff whatever its payload, as on a GPU.
__forceinline__ half float_to_half(float f) {
  if (f != f) return {0x7fff};
  return {_cvtss_sh(f, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC)};
}
__forceinline__ float low_half_to_float(unsigned pair) {
  return _cvtsh_ss(static_cast<unsigned short>(pair));
}
__forceinline__ float high_half_to_float(unsigned pair) {
  return _cvtsh_ss(static_cast<unsigned short>(pair >> 16));
}

template <class T>
__forceinline__ T load_readonly(const T* p) {
  if constexpr (simt::kChecked) simt::readonly_load(p, sizeof(T));
  return *p;
}

template <class T>
__forceinline__ T load_once(const T* p) {
  return *p;
}

/// Launches of a stream run one after the other here; the checked build reports what would not be right if they did not.
__forceinline__ void wait_for_earlier_kernels() {
  if constexpr (simt::kChecked) simt::earlier_kernels_ended();
}

namespace simt {
template <class T>
__forceinline__ T exchange(unsigned mask, T v, unsigned source) {
  static_assert(sizeof(T) == 4);
  return std::bit_cast<T>(
      static_cast<unsigned>(collective(CollectiveKind::shuffle, mask, std::bit_cast<unsigned>(v), source)));
}
}  // namespace simt
__forceinline__ float shuffle(unsigned mask, float v, unsigned source) {
  return simt::exchange(mask, v, source);
}
__forceinline__ int shuffle(unsigned mask, int v, unsigned source) { return simt::exchange(mask, v, source); }
__forceinline__ float shuffle_xor(unsigned mask, float v, unsigned lanes) {
  return simt::exchange(mask, v, threadIdx.x % 32 ^ lanes);
}
__forceinline__ int shuffle_xor(unsigned mask, int v, unsigned lanes) {
  return simt::exchange(mask, v, threadIdx.x % 32 ^ lanes);
}
__forceinline__ unsigned ballot(unsigned mask, bool vote) {
  return static_cast<unsigned>(simt::collective(simt::CollectiveKind::ballot, mask, vote, 0));
}
template <int kSums>
__forceinline__ void warp_sums(float (&v)[kSums], unsigned lanes) {
  simt::collective(simt::CollectiveKind::sums, simt::kFullMask, reinterpret_cast<std::uintptr_t>(v),
                   simt::Sums{kSums, lanes}.packed());
}
template <int kSums>
__forceinline__ void warp_sums(float (&v)[kSums]) {
  warp_sums(v, simt::kWarpSize);
}
__forceinline__ float warp_sum(float v) {
  float sum[1] = {v};
  warp_sums(sum);
  return sum[0];
}
__forceinline__ float warp_max(float v) {
  return bits_to_float(static_cast<unsigned>(
      simt::collective(simt::CollectiveKind::max, simt::kFullMask, float_to_bits(v), 0)));
}

// Found by kernels in their own namespaces through ordinary look-up.
using simt::atomic_add;
using simt::atomic_add_acq_rel;
using simt::atomic_add_release;
using simt::load_acquire;
using simt::load_relaxed;
using simt::store_relaxed;
using simt::store_release;

template <class Done>
__forceinline__ void spin_until(const unsigned* flag, Done done) {
  struct Closure {
    const unsigned* flag;
    const Done* done;
  } const closure{flag, &done};
  simt::spin(
      [](const void* erased) {
        const Closure& c = *static_cast<const Closure*>(erased);
        return (*c.done)(simt::load_acquire(c.flag));
      },
      &closure);
}

template <class Done>
__forceinline__ bool spin_at_most(unsigned looks, const unsigned* flag, Done done) {
  bool met = false;
  spin_until(flag, [&](unsigned now) {
    met = done(now);
    return met || (simt::host_fed() && --looks == 0);
  });
  return met;
}

// The host is a thread like the workers.
__forceinline__ unsigned load_relaxed_system(const unsigned* p) { return simt::load_relaxed(p); }
__forceinline__ void store_release_system(unsigned* p, unsigned v) { simt::store_release(p, v); }
__forceinline__ void store_release_system(unsigned long long* p, unsigned long long v) {
  simt::store_release(p, v);
}
template <class Done>
__forceinline__ void spin_until_system(const unsigned* flag, Done done) {
  spin_until(flag, done);
}
