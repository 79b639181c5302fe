#pragma once
// A thread an element, a row of blocks a row.
#include "kernels/bias.h"
#include "kernels/device.cuh"

namespace ops::bias {

__device__ __forceinline__ void element(const BiasParams& p, long long row, int i) {
  p.y[row * p.n + i] += p.b[i];
}

}  // namespace ops::bias
