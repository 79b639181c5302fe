#pragma once
#include "kernels/types.h"

/// What the kernels of faults.cu take. Each plants its fault if `plant` is 1, and is right if it is 0.
struct FaultParams {
  int plant;
  float* out;       // one float a thread of the grid
  const float* in;  // 64 floats
  float* data;      // 64 floats
  unsigned* words;  // 4 words
  half* halfs;      // 64
};
