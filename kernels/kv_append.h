#pragma once
#include "kernels/types.h"

/// Rounds this position's K and V to binary16 and stores them in the cache.
struct KvAppendParams {
  const float* k;  // (n_kv_heads, head_dim)
  const float* v;  // (n_kv_heads, head_dim)
  half* k_cache;   // element (position, kv_head, i) at position * position_stride + kv_head * head_stride + i
  half* v_cache;   // likewise
  const int* position;  // device memory, one int
  int n_kv_heads;
  int head_dim;
  int position_stride;  // elements
  int head_stride;      // elements
};
