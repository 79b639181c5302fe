#include "kernels/kv_append.cuh"

extern "C" __global__ void kv_append(KvAppendParams p) {
  const int i = thread_in_grid();
  if (i < p.n_rows * p.n_kv_heads * p.head_dim) ops::kv_append::element(p, i);
}
