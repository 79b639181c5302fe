#pragma once
#include "kernels/matrix.h"

/// Of a block. Several of them stand on an SM, so that those of the next kernel can come as these end.
constexpr int kProductThreads = 256;

/// y = A x, batch 1; A of the format that the kernel's name says.
struct GemvParams {
  Matrix a;        // (rows, cols)
  const float* x;  // (cols), 16-byte aligned; the buffer reaches to a.stride, zeros behind cols
  float* y;        // (rows)
};
