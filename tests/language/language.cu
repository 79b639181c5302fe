// The functions of the language of kernels, each by itself: what they give is judged by checks.cpp, on every
// device. A NaN is written as 0x7fffffff: its payload is not the language's.
#include "kernels/device.cuh"
#include "tests/language/language.h"

__device__ __forceinline__ unsigned number_or_nan(float x) { return x == x ? float_to_bits(x) : 0x7fffffffu; }

/// f(i) for i below p.n, by all threads of the grid.
template <class F>
__device__ __forceinline__ void for_all(const LanguageParams& p, F f) {
  for (unsigned i = blockIdx.x * blockDim.x + threadIdx.x; i < p.n; i += gridDim.x * blockDim.x) f(i);
}

// Of the floats whose bits are first + i stride.
extern "C" __global__ void language_exp(LanguageParams p) {
  for_all(p, [&](unsigned i) { p.out[i] = number_or_nan(exp_f32(bits_to_float(p.first + i * p.stride))); });
}

extern "C" __global__ void language_float_to_half(LanguageParams p) {
  unsigned short* const out = reinterpret_cast<unsigned short*>(p.out);
  for_all(p, [&](unsigned i) { out[i] = float_to_half(bits_to_float(p.first + i * p.stride)).bits; });
}

extern "C" __global__ void language_bits(LanguageParams p) {
  for_all(p, [&](unsigned i) { p.out[i] = float_to_bits(bits_to_float(p.first + i * p.stride)); });
}

// The half i: alone, as the low one of a pair and as the high one; its partner is ~i. out (n, 3).
extern "C" __global__ void language_half_to_float(LanguageParams p) {
  for_all(p, [&](unsigned i) {
    const unsigned partner = ~i & 0xffffu;
    p.out[3 * i] = number_or_nan(half_to_float({static_cast<unsigned short>(i)}));
    p.out[3 * i + 1] = number_or_nan(low_half_to_float(i | partner << 16));
    p.out[3 * i + 2] = number_or_nan(high_half_to_float(i << 16 | partner));
  });
}

// in: n times 8 halves. out (n, 8).
extern "C" __global__ void language_halfs_to_floats(LanguageParams p) {
  for_all(p, [&](unsigned i) {
    const Floats8 floats = halfs_to_floats(load<true>(reinterpret_cast<const uint4*>(p.in) + i));
    for (unsigned j = 0; j < 8; ++j) p.out[8 * i + j] = number_or_nan(floats.v[j]);
  });
}

// in (n, 3): a, b, c. out (n, 5): what the kernels' arithmetic is made of.
extern "C" __global__ void language_arithmetic(LanguageParams p) {
  for_all(p, [&](unsigned i) {
    const float a = bits_to_float(load<false>(p.in + 3 * i));
    const float b = bits_to_float(load<true>(p.in + 3 * i + 1));
    const float c = bits_to_float(p.in[3 * i + 2]);
    p.out[5 * i] = number_or_nan(fmaf(a, b, c));
    p.out[5 * i + 1] = number_or_nan(a * b + c);
    p.out[5 * i + 2] = number_or_nan(a / b);
    p.out[5 * i + 3] = number_or_nan(sqrtf(a));
    p.out[5 * i + 4] = number_or_nan(larger(a, b));
  });
}

// in (n, 3): a, b, sum.
extern "C" __global__ void language_dot4(LanguageParams p) {
  for_all(p, [&](unsigned i) {
    p.out[i] = static_cast<unsigned>(dot4(p.in[3 * i], p.in[3 * i + 1], static_cast<int>(p.in[3 * i + 2])));
  });
}

// One float a thread of the grid. out (threads, 7 + 2 * 6): sums of v and of -2 v over 1, 2, ..., 32 lanes at the end.
extern "C" __global__ void language_collectives(LanguageParams p) {
  const unsigned i = blockIdx.x * blockDim.x + threadIdx.x;
  const float v = bits_to_float(p.in[i]);
  const unsigned lane = threadIdx.x % kWarp;
  unsigned* const out = p.out + 19 * i;
  out[0] = number_or_nan(warp_sum(v));
  out[1] = number_or_nan(warp_max(v));
  out[2] = number_or_nan(shuffle(kFullWarp, v, (lane * 5 + 3) % kWarp));
  out[3] = number_or_nan(shuffle_xor(kFullWarp, v, 11));
  out[4] = static_cast<unsigned>(shuffle(kFullWarp, static_cast<int>(i), (lane + 1) % kWarp));
  out[5] = static_cast<unsigned>(shuffle_xor(kFullWarp, static_cast<int>(i), 16));
  out[6] = ballot(kFullWarp, v > 0.f);
  unsigned* next = out + 7;
  for (unsigned lanes = 1; lanes <= kWarp; lanes *= 2) {
    float sums[2] = {v, -2.f * v};
    warp_sums(sums, lanes);
    *next++ = number_or_nan(sums[0]);
    *next++ = number_or_nan(sums[1]);
  }
}

// One float a thread of the grid, whose blocks are one group each. out (threads).
template <int kThreads>
__device__ __forceinline__ void sum_of_groups(const LanguageParams& p) {
  SHARED(float[32], scratch);
  const auto group = Group<kThreads>::mine();
  const int i = group.rank * kThreads + group.thread;
  p.out[i] = number_or_nan(group_sum(group, bits_to_float(p.in[i]), scratch));
}
extern "C" __global__ void language_group_sum_32(LanguageParams p) { sum_of_groups<32>(p); }
extern "C" __global__ void language_group_sum_96(LanguageParams p) { sum_of_groups<96>(p); }
extern "C" __global__ void language_group_sum_256(LanguageParams p) { sum_of_groups<256>(p); }
extern "C" __global__ void language_group_sum_736(LanguageParams p) { sum_of_groups<736>(p); }
extern "C" __global__ void language_group_sum_1024(LanguageParams p) { sum_of_groups<1024>(p); }

// Each thread draws a number and marks it as drawn. out (threads); words: how many.
extern "C" __global__ void language_atomics(LanguageParams p) {
  const unsigned i = blockIdx.x * blockDim.x + threadIdx.x;
  const unsigned drawn = atomic_add(p.words, 1u);
  atomic_add(p.out + drawn, i + 1);
}

// Resident. In each of n phases every block stores a word and reads all others'. out (blocks) ends as their
// sum, checked in every phase: a wrong one leaves 0xffffffff. words: the barrier's two.
extern "C" __global__ void language_grid_barrier(LanguageParams p) {
  const unsigned block = blockIdx.y * gridDim.x + blockIdx.x;
  const unsigned blocks = gridDim.x * gridDim.y;
  bool right = true;
  for (unsigned phase = 1; phase <= p.n; ++phase) {
    if (threadIdx.x == 0) store_relaxed(p.out + block, phase + block);
    grid_barrier(p.words);
    unsigned sum = 0;
    for (unsigned b = 0; b < blocks; ++b) sum += load_relaxed(p.out + b);
    right = right && sum == blocks * phase + blocks * (blocks - 1) / 2;
    grid_barrier(p.words);
  }
  const unsigned wrong = ballot(kFullWarp, !right);
  if (threadIdx.x == 0 && wrong != 0) store_relaxed(p.out + block, 0xffffffffu);
}
