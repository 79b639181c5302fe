#pragma once
#include "kernels/kv_view.h"

/// Rounds each row's K and V to binary16 and stores them in the cache, at the row's sequence and position.
struct KvAppendParams {
  const float* k;  // (n_rows, n_kv_heads, head_dim)
  const float* v;  // likewise
  KvView cache;
  const int* sequence;  // device memory, (n_rows): of the cache
  const int* position;  // device memory, (n_rows)
  int n_rows;
  int n_kv_heads;
  int head_dim;
};
