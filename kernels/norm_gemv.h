#pragma once
#include "kernels/matrix.h"

/// y = A (x / sqrt(mean(x^2) + eps) * weight), batch 1. The bits of rms_norm and then gemv.
struct NormGemvParams {
  Matrix a;             // (rows, cols)
  const float* x;       // (cols)
  const float* weight;  // (cols)
  float* y;             // (rows)
  float eps;
};
