// A thread an element of K and the same of V: a few hundred elements a token.
#include "kernels/kv_append.h"

#include "kernels/device.cuh"

extern "C" __global__ void kv_append(KvAppendParams p) {
  const int i = static_cast<int>(blockIdx.x * blockDim.x + threadIdx.x);
  if (i >= p.n_kv_heads * p.head_dim) return;
  const long long at = static_cast<long long>(*p.position) * p.position_stride +
                       static_cast<long long>(i / p.head_dim) * p.head_stride + i % p.head_dim;
  p.k_cache[at] = float_to_half(p.k[i]);
  p.v_cache[at] = float_to_half(p.v[i]);
}
