// A thread a row.
#include "kernels/advance.h"

#include "kernels/device.cuh"

extern "C" __global__ void advance(AdvanceParams p) {
  const int row = static_cast<int>(blockIdx.x * blockDim.x + threadIdx.x);
  if (row >= p.n_rows) return;
  const int next = p.position[row] + 1;
  const int* const prompt = p.prompt + static_cast<long long>(row) * p.prompt_stride;
  p.position[row] = next;
  p.token[row] = next < p.prompt_length[row] ? prompt[next] : p.chosen[row];
}
