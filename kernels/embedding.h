#pragma once
#include "kernels/matrix.h"

/// y = row `*token` of the table, as float.
/// A token outside [0, table.rows) gives a row of zeros: the host checks tokens before they reach the device.
struct EmbeddingParams {
  Matrix table;      // (n_vocab, width), any format of matrix.h
  const int* token;  // device memory, one int
  float* y;          // (width)
};
