#pragma once
// A unit is two rows whose outputs rope turns together, so that the warp that sums both can turn and store them.
#include "kernels/kv_append.cuh"
#include "kernels/norm_gemv.cuh"
#include "kernels/qkv.h"
#include "kernels/rope.cuh"

namespace ops::qkv {

enum class Of { q, k, v };

/// The pair of outputs that a unit makes.
struct Pair {
  Of of;
  int head;           // of Q, K or V
  int i;              // the pair's number in its head
  int first, second;  // places in the head
};

__device__ __forceinline__ Pair pair_of(const QkvParams& p, int unit) {
  const int half_head = p.head_dim / 2;
  Pair pair;
  pair.of = Of::q;
  if (unit >= p.q.rows / 2) {
    unit -= p.q.rows / 2;
    pair.of = Of::k;
    if (unit >= p.k.rows / 2) {
      unit -= p.k.rows / 2;
      pair.of = Of::v;
    }
  }
  pair.head = unit / half_head;
  pair.i = unit % half_head;
  const bool apart = p.neox != 0 && pair.of != Of::v && pair.i < p.n_rotated / 2;
  pair.first = apart ? pair.i : 2 * pair.i;
  pair.second = apart ? pair.i + p.n_rotated / 2 : 2 * pair.i + 1;
  return pair;
}

template <class F>
__device__ __forceinline__ gemv::Rows<2> rows_of(const QkvParams& p, const Pair& pair) {
  const int first = pair.head * p.head_dim + pair.first;
  const int second = pair.head * p.head_dim + pair.second;
  if (pair.of == Of::q) return {{formats::row_of<F>(p.q, first), formats::row_of<F>(p.q, second)}};
  if (pair.of == Of::k) return {{formats::row_of<F>(p.k, first), formats::row_of<F>(p.k, second)}};
  return {{formats::row_of<F>(p.v, first), formats::row_of<F>(p.v, second)}};
}

/// One lane's: bias, rope, and where they go.
__device__ __forceinline__ void store(const QkvParams& p, const Pair& pair,
                                      const float (&totals)[2]) {
  const int head = pair.head * p.head_dim;
  float2 out = {totals[0], totals[1]};
  const float* const bias = pair.of == Of::q ? p.q_bias : pair.of == Of::k ? p.k_bias : p.v_bias;
  if (bias != nullptr) {
    out.x += bias[head + pair.first];
    out.y += bias[head + pair.second];
  }
  const int position = *p.position;
  if (pair.of != Of::v && pair.i < p.n_rotated / 2) {
    out = rope::turned(p.table[static_cast<long long>(position) * (p.n_rotated / 2) + pair.i], out.x, out.y);
  }
  if (pair.of == Of::q) {
    p.y[head + pair.first] = out.x;
    p.y[head + pair.second] = out.y;
  } else {
    half* const cache = pair.of == Of::k ? p.cache.k : p.cache.v;
    const long long at = kv_append::place(p.cache, *p.sequence, position, pair.head, 0);
    cache[at + pair.first] = float_to_half(out.x);
    cache[at + pair.second] = float_to_half(out.y);
  }
}

struct Product {
  static constexpr int kRows = 2;
  const QkvParams& p;
  rms_norm::Shared& sums;
  __device__ __forceinline__ int n_units() const { return (p.q.rows + p.k.rows + p.v.rows) / 2; }
  __device__ __forceinline__ int stride() const { return p.stride; }
  template <class F>
  __device__ __forceinline__ gemv::Rows<2> rows(int unit) const {
    return rows_of<F>(p, pair_of(p, unit));
  }
  __device__ __forceinline__ void prepare(const gemv::PaddedX& x) const {
    norm_gemv::put_weight(x, p.weight, p.width, p.stride);
  }
  __device__ __forceinline__ void put(const gemv::PaddedX& x) const {
    norm_gemv::normed_x(x, p.x, p.width, p.eps, sums);
  }
  __device__ __forceinline__ void store(int unit, const float (&totals)[2]) const {
    if (threadIdx.x % 32 == 0) qkv::store(p, pair_of(p, unit), totals);
  }
};

template <class F>
__device__ __forceinline__ void shared(const QkvParams& p, float4* memory, rms_norm::Shared& sums) {
  gemv::walk<F>(Product{p, sums}, gemv::PaddedX{memory});
}

}  // namespace ops::qkv
