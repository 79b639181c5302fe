#pragma once
#include "kernels/matrix.h"

constexpr int kProductThreads = 512;
constexpr int kProductBlocks = 1;

/// y = A x, batch 1; A of the format that the kernel's name says.
struct GemvParams {
  Matrix a;        // (rows, cols)
  const float* x;  // (cols), 16-byte aligned; the buffer reaches to a.stride, zeros behind cols
  float* y;        // (rows)
};
