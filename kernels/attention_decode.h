#pragma once
#include "kernels/types.h"

/// Attention of one token over the cache, grouped queries (Ainslie et al., 2023):
/// y[h] = sum_j softmax_j(scale q[h] . k[j, h / group]) v[j, h / group], j <= *position, group = n_heads /
/// n_kv_heads.
struct AttentionDecodeParams {
  const float* q;  // (n_heads, head_dim)
  const half*
      k_cache;  // element (position, kv_head, i) at position * position_stride + kv_head * head_stride + i
  const half* v_cache;  // likewise
  const int* position;  // device memory, one int: the last position attended to
  float* y;             // (n_heads, head_dim)
  int n_heads;
  int n_kv_heads;
  int head_dim;         // a multiple of 8, at most 128
  int position_stride;  // elements, a multiple of 8
  int head_stride;      // elements, a multiple of 8
  float scale;
};
