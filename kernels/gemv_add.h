#pragma once
#include "kernels/matrix.h"

/// Blocks that an SM holds, whatever the format: registers are given out for it.
constexpr int kGemvAddBlocks = 3;

/// y += A x, batch 1: a product and the residual that it goes into. The bits of gemv and then residual_add.
struct GemvAddParams {
  Matrix a;        // (rows, cols)
  const float* x;  // (cols), 16-byte aligned; the buffer reaches to a.stride, zeros behind cols
  float* y;        // (rows)
};
