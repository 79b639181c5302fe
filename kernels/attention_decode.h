#pragma once
#include "kernels/kv_view.h"

/// Attention of one token a row over its sequence in the cache, grouped queries (Ainslie et al., 2023):
/// y[h] = sum_j softmax_j(scale q[h] . k[j, h / group]) v[j, h / group], j <= position[row], group = n_heads /
/// n_kv_heads.
struct AttentionDecodeParams {
  const float* q;  // (n_rows, n_heads, head_dim)
  KvView cache;
  const int* sequence;  // device memory, (n_rows): of the cache
  const int* position;  // device memory, (n_rows): the last position attended to
  float* y;             // (n_rows, n_heads, head_dim)
  int n_rows;
  int n_heads;
  int n_kv_heads;
  int head_dim;  // a multiple of 8, at most 128
  float scale;
};
