#pragma once
#include "kernels/kv_view.h"
#include "kernels/matrix.h"

/// What stands before a row's attention, batch 1: z = x / sqrt(mean(x^2) + eps) * weight; Q z, K z and V z with their
/// biases; rope of Q and K; K and V into the cache. The bits of rms_norm, gemv, bias, rope and kv_append. Matrices of
/// one format; of another one, Q, K or V has no rows here and comes in a launch of its own.
struct QkvParams {
  Matrix q;             // (n_heads head_dim, width), or no rows
  Matrix k;             // (n_kv_heads head_dim, width), or no rows
  Matrix v;             // likewise
  const float* q_bias;  // (its rows), or null
  const float* k_bias;  // likewise
  const float* v_bias;  // likewise
  const float* x;       // (width)
  const float* weight;  // (width)
  const float2* table;  // as rope's
  const int* sequence;  // device memory, 1: of the cache
  const int* position;  // device memory, 1
  float* y;             // Q (n_heads, head_dim)
  KvView cache;
  int width;
  int stride;     // of all three
  int head_dim;   // even
  int n_rotated;  // even, <= head_dim
  int neox;       // rope's pairs: 1 neox, 0 normal
  float eps;
};
