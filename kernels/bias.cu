// A thread an element, a row of blocks a row.
#include "kernels/bias.h"

#include "kernels/device.cuh"

extern "C" __global__ void bias(BiasParams p) {
  const int i = static_cast<int>(blockIdx.x * blockDim.x + threadIdx.x);
  const long long row = static_cast<long long>(blockIdx.y) * p.n;
  if (i < p.n) p.y[row + i] += p.b[i];
}
