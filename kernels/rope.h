#pragma once
#include "kernels/types.h"

/// Rotates pairs of x in place, each row by the angles of its position (Su et al., 2021).
/// Pairs: normal (2i, 2i + 1), neox (i, i + n_rotated / 2); what lies behind n_rotated stays.
struct RopeParams {
  float* x;             // (n_rows, n_heads, head_dim)
  const float2* table;  // (n_positions, n_rotated / 2): cosine, sine, made on the host in float64
  const int* position;  // device memory, (n_rows), each in [0, n_positions)
  int n_rows;
  int n_heads;
  int head_dim;
  int n_rotated;  // even, <= head_dim
};
