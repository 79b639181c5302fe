#pragma once
// A unit is two rows whose outputs rope turns together, so that the warp that sums both can turn and store them.
#include "kernels/kv_append.cuh"
#include "kernels/norm_gemv.cuh"
#include "kernels/qkv.h"
#include "kernels/rope.cuh"

namespace ops::qkv {

enum class Of { q, k, v };

struct Shared {
  rms_norm::Shared norm;
  int position, sequence;
};

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

__device__ __forceinline__ bool turns(const QkvParams& p, const Pair& pair) {
  return pair.of != Of::v && pair.i < p.n_rotated / 2;
}

/// One lane's: bias, rope by `turn` where there is one, and where they go.
__device__ __forceinline__ void store(const QkvParams& p, const Pair& pair, const float (&totals)[2],
                                      const Shared& shared, float2 turn) {
  const int head = pair.head * p.head_dim;
  float2 out = {totals[0], totals[1]};
  const float* const bias = pair.of == Of::q ? p.q_bias : pair.of == Of::k ? p.k_bias : p.v_bias;
  if (bias != nullptr) {
    out.x += bias[head + pair.first];
    out.y += bias[head + pair.second];
  }
  if (turns(p, pair)) out = rope::turned(turn, out.x, out.y);
  if (pair.of == Of::q) {
    p.y[head + pair.first] = out.x;
    p.y[head + pair.second] = out.y;
  } else {
    half* const cache = pair.of == Of::k ? p.cache.k : p.cache.v;
    const long long at = kv_append::place(p.cache, shared.sequence, shared.position, pair.head, 0);
    cache[at + pair.first] = float_to_half(out.x);
    cache[at + pair.second] = float_to_half(out.y);
  }
}

struct Product {
  static constexpr int kRows = 2;
  const QkvParams& p;
  Shared& shared;
  __device__ __forceinline__ int n_units() const { return (p.q.rows + p.k.rows + p.v.rows) / 2; }
  __device__ __forceinline__ int stride() const { return p.stride; }
  template <class F>
  __device__ __forceinline__ gemv::Rows<2> rows(int unit) const {
    return rows_of<F>(p, pair_of(p, unit));
  }
  __device__ __forceinline__ gemv::Held prepare() const { return norm_gemv::held(p.weight, p.width); }
  template <class X>
  __device__ __forceinline__ void put(const X& x, const gemv::Held& held) const {
    if (threadIdx.x == 0) {
      shared.position = *p.position;
      shared.sequence = *p.sequence;
    }
    norm_gemv::normed_x(x, p.x, p.weight, held, p.width, p.stride, p.eps, shared.norm);
  }
  __device__ __forceinline__ float2 beside(int unit) const {
    const Pair pair = pair_of(p, unit);
    if (!turns(p, pair)) return {};
    return p.table[static_cast<long long>(shared.position) * (p.n_rotated / 2) + pair.i];
  }
  __device__ __forceinline__ void store(int unit, const float (&totals)[2], float2 beside) const {
    if (threadIdx.x % 32 == 0) qkv::store(p, pair_of(p, unit), totals, shared, beside);
  }
};

template <class F>
__device__ __forceinline__ void shared(const QkvParams& p, float4* memory, Shared& own) {
  gemv::walk<F>(Product{p, own}, gemv::PaddedX{memory});
}

template <class F>
__device__ __forceinline__ void integers(const QkvParams& p, float4* memory, Shared& own) {
  gemv::walk<formats::Int8<F>>(Product{p, own}, int8::row_in(memory, p.stride));
}

}  // namespace ops::qkv
