#include "kernels/bias.cuh"

extern "C" __global__ void bias(BiasParams p) {
  const int i = static_cast<int>(blockIdx.x * blockDim.x + threadIdx.x);
  if (i < p.n) ops::bias::element(p, blockIdx.y, i);
}
