#pragma once
#include "kernels/types.h"

/// y = x rounded to binary16, to nearest even; overflow gives infinity, NaN stays NaN.
struct CastParams {
  const float* x;  // (n)
  half* y;         // (n)
  int n;
};
