#pragma once
// A thread an element of K and the same of V: a few hundred elements a token.
#include "kernels/device.cuh"
#include "kernels/kv_append.h"

namespace ops::kv_append {

/// Where element i of a KV head stands in the cache.
__device__ __forceinline__ long long place(const KvView& cache, int sequence, int position, int kv_head,
                                           int i) {
  return sequence * cache.sequence_stride + static_cast<long long>(position) * cache.position_stride +
         static_cast<long long>(kv_head) * cache.head_stride + i;
}

/// Element i of n_rows x n_kv_heads x head_dim.
__device__ __forceinline__ void element(const KvAppendParams& p, int i) {
  const int in_row = p.n_kv_heads * p.head_dim;
  const int row = i / in_row;
  const int of_row = i % in_row;
  const long long at =
      place(p.cache, p.sequence[row], p.position[row], of_row / p.head_dim, of_row % p.head_dim);
  p.cache.k[at] = float_to_half(p.k[i]);
  p.cache.v[at] = float_to_half(p.v[i]);
}

}  // namespace ops::kv_append
