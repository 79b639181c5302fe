#pragma once
#include "kernels/matrix.h"

/// y += A x, batch 1: a product and the residual that it goes into. The bits of gemv and then residual_add.
struct GemvAddParams {
  Matrix a;        // (rows, cols)
  const float* x;  // (cols), 16-byte aligned; the buffer reaches to a.stride, zeros behind cols
  float* y;        // (rows)
};
