#pragma once
#include "kernels/types.h"

/// The cache of keys and values of one layer, as kernels see it: binary16, element (sequence, position, kv_head, i)
/// at sequence * sequence_stride + position * position_stride + kv_head * head_stride + i, in elements. Only the KV
/// cache makes one, so that another layout (pages, scales of a quantised cache) changes this struct and
/// what reads it in kv_append.cuh and attention_decode.cuh, and no op's parameters.
struct KvView {
  half* k;
  half* v;
  long long sequence_stride;
  int position_stride;  // a multiple of 8
  int head_stride;      // a multiple of 8
  int n_positions;      // that a sequence has room for
};
