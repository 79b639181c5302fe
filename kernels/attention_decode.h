#pragma once
#include "kernels/kv_view.h"

/// Positions of a unit of `split`: with them the order of its sums follows from the shape alone.
constexpr int kAttentionChunk = 64;

/// Blocks of `split` that a GM200's SM holds at once, by the heads of a unit: registers are given out for it, 64, 72,
/// 80 and 96 a thread, and a launch has no more of them.
constexpr int kAttentionBlocks[] = {8, 7, 5, 5};

constexpr int kAttentionHeadDim = 256;  // the largest that a variant takes

/// What `split` makes of each chunk of a sequence before they are merged. Null where no sequence has room for two.
struct AttentionChunks {
  float* outputs;     // (n_rows, n_heads, n_chunks, head_dim), each with the chunk's own maximum
  float* bests;       // (n_rows, n_heads, n_chunks): that maximum
  float* totals;      // (n_rows, n_heads, n_chunks): sums of the chunk's exponentials
  unsigned* arrived;  // (n_rows, n_kv_heads, sets of heads): chunks that are done; zeros before and after
  int n_chunks;       // that there is room for
};

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
  int head_dim;  // a multiple of 8, at most kAttentionHeadDim
  float scale;
  AttentionChunks chunks = {};  // of `split`, which sets them
};
