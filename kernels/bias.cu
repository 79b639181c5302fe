#include "kernels/bias.cuh"

extern "C" __global__ void bias(BiasParams p) {
  const int i = thread_in_grid();
  if (i < p.n) ops::bias::element(p, blockIdx.y, i);
}
