#pragma once
#include "kernels/matrix.h"

/// y = swiglu(G z, U z), z = x / sqrt(mean(x^2) + eps) * weight, batch 1: the first half of a feed-forward. The bits of
/// rms_norm, two gemv and swiglu.
struct GateUpParams {
  Matrix gate;          // (rows, cols)
  Matrix up;            // likewise, of one format
  const float* x;       // (cols)
  const float* weight;  // (cols)
  float* y;             // (rows)
  float eps;
};
