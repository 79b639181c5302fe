#pragma once
// How weights are multiplied with x of 8-bit integers (int8.cuh): the integers of a block with each other, exactly, and the
// sum of them with both scales. Loads and pieces are those of the format (formats.cuh).
#include "kernels/formats.cuh"
#include "kernels/int8.cuh"

namespace formats {

/// sum + w . x over 16 weights, each a byte.
__device__ __forceinline__ int dot16(uint4 w, const uint4& x, int sum) {
  sum = dot4(w.x, x.x, sum);
  sum = dot4(w.y, x.y, sum);
  sum = dot4(w.z, x.z, sum);
  return dot4(w.w, x.w, sum);
}
__device__ __forceinline__ uint4 low_nibbles(uint4 q) {
  return {low_nibbles(q.x), low_nibbles(q.y), low_nibbles(q.z), low_nibbles(q.w)};
}
__device__ __forceinline__ uint4 high_nibbles(uint4 q) {
  return {high_nibbles(q.x), high_nibbles(q.y), high_nibbles(q.z), high_nibbles(q.w)};
}
/// Over a block whose lower half are the low nibbles.
__device__ __forceinline__ int dot_nibbles(uint4 q, const int8::Row& x, int block) {
  return dot16(high_nibbles(q), x.sixteen(2 * block + 1), dot16(low_nibbles(q), x.sixteen(2 * block), 0));
}

/// The integers of format F with those of x: Dot<F>::add(sum, piece, x, i).
template <class F>
struct Dot;

template <>
struct Dot<Q8_0> {
  static __device__ __forceinline__ void add(float& sum, const Q8_0::Piece& piece, const int8::Row& x,
                                             int i) {
    const float d = low_half_to_float(piece.d) * x.scales[i / 2].d;
    sum = fmaf(d, static_cast<float>(dot16(piece.q, x.sixteen(i), 0)), sum);
  }
};

template <>
struct Dot<Q4_1> {
  static __device__ __forceinline__ void add(float& sum, const Q4_1::Piece& piece, const int8::Row& x,
                                             int i) {
    const Scale w = Q4_1::scale(piece.scales);
    const int8::Scale of_x = x.scales[i];
    const int sum_of_x = int8::first_sum(of_x) + int8::second_sum(of_x);
    sum = fmaf(w.d * of_x.d, static_cast<float>(dot_nibbles(piece.q, x, i)), sum);
    sum = fmaf(w.m * of_x.d, static_cast<float>(sum_of_x), sum);
  }
};

template <>
struct Dot<Q4_0> {
  static __device__ __forceinline__ void add(float& sum, const Q4_0::Piece& piece, const int8::Row& x,
                                             int i) {
    const int8::Scale of_x = x.scales[i];
    const int offset = 8 * (int8::first_sum(of_x) + int8::second_sum(of_x));
    sum = fmaf(low_half_to_float(piece.d) * of_x.d, static_cast<float>(dot_nibbles(piece.q, x, i) - offset),
               sum);
  }
};

/// Piece i of a format with Q4_K's scales: sixteen weights of a sub-block and sixteen of the next, a byte each.
__device__ __forceinline__ void add_sub_blocks(float& sum, uint4 scales, uint4 low_q, uint4 high_q,
                                               const int8::Row& x, int i) {
  const int group = i % 8 / 2;
  const int half = i % 2;
  const int low = 8 * (i / 8) + 2 * group;  // sub-blocks, which are blocks of x
  const int high = low + 1;
  const SubScale low_w = Q4_K::sub_scale(scales, 2 * group);
  const SubScale high_w = Q4_K::sub_scale(scales, 2 * group + 1);
  const int8::Scale low_x = x.scales[low];
  const int8::Scale high_x = x.scales[high];
  const int low_dot = dot16(low_q, x.sixteen(2 * low + half), 0);
  const int high_dot = dot16(high_q, x.sixteen(2 * high + half), 0);
  const float values = fmaf(high_x.d, static_cast<float>(high_w.scale * high_dot),
                            low_x.d * static_cast<float>(low_w.scale * low_dot));
  const float minima = fmaf(high_x.d, static_cast<float>(high_w.minimum * int8::half_sum(high_x, half)),
                            low_x.d * static_cast<float>(low_w.minimum * int8::half_sum(low_x, half)));
  sum = fmaf(low_half_to_float(scales.x), values, sum);
  sum = fmaf(-high_half_to_float(scales.x), minima, sum);
}

template <>
struct Dot<Q4_K> {
  static __device__ __forceinline__ void add(float& sum, const Q4_K::Piece& piece, const int8::Row& x,
                                             int i) {
    add_sub_blocks(sum, piece.scales, low_nibbles(piece.q), high_nibbles(piece.q), x, i);
  }
};

template <>
struct Dot<Q5_K> {
  static __device__ __forceinline__ void add(float& sum, const Q5_K::Piece& piece, const int8::Row& x,
                                             int i) {
    const uint4 q = piece.q;
    const uint4 fifth = shifted(piece.fifth, Q5_K::fifth_shift(i));
    const uint4 low = {Q5_K::low_bytes(q.x, fifth.x), Q5_K::low_bytes(q.y, fifth.y),
                       Q5_K::low_bytes(q.z, fifth.z), Q5_K::low_bytes(q.w, fifth.w)};
    const uint4 high = {Q5_K::high_bytes(q.x, fifth.x), Q5_K::high_bytes(q.y, fifth.y),
                        Q5_K::high_bytes(q.z, fifth.z), Q5_K::high_bytes(q.w, fifth.w)};
    add_sub_blocks(sum, piece.scales, low, high, x, i);
  }
  static __device__ __forceinline__ uint4 shifted(uint4 v, int n) {
    return {v.x >> n, v.y >> n, v.z >> n, v.w >> n};
  }
};

template <>
struct Dot<Q6_K> {
  static __device__ __forceinline__ void add(float& sum, const Q6_K::Piece& piece, const int8::Row& x,
                                             int i) {
    const Q6_K::Quarters q = Q6_K::quarters(piece);
    const int first = 32 * (i / 8) + i % 8;
    const int8::Scale* const of_x = x.scales + 4 * (i / 8);
    float values = of_x[0].d * scaled(piece.scales[0], q.q[0], x.four(first));
    values = fmaf(of_x[1].d, scaled(piece.scales[1], q.q[1], x.four(first + 8)), values);
    values = fmaf(of_x[2].d, scaled(piece.scales[2], q.q[2], x.four(first + 16)), values);
    values = fmaf(of_x[3].d, scaled(piece.scales[3], q.q[3], x.four(first + 24)), values);
    sum = fmaf(piece.d, values, sum);
  }
  /// scale (q - 32) . x: bytes of q below 64 become signed ones, without a carry between them.
  static __device__ __forceinline__ float scaled(int scale, unsigned q, unsigned x) {
    return static_cast<float>(scale * dot4((q + 0x60606060u) ^ 0x80808080u, x, 0));
  }
};

/// A format whose integers are multiplied with x's. See formats.cuh for what its members mean.
template <class F>
struct Int8 {
  static constexpr Format kFormat = F::kFormat;
  using Sum = float;
  static constexpr int kAhead = F::kAhead;
  using Piece = typename F::Piece;
  static __device__ __forceinline__ Piece load(const Row& row, int i) { return F::load(row, i); }
  static __device__ __forceinline__ void multiply_add(float& sum, const Piece& piece, const int8::Row& x,
                                                      int i) {
    Dot<F>::add(sum, piece, x, i);
  }
};

}  // namespace formats
