#pragma once
// A thread a row.
#include "kernels/advance.h"
#include "kernels/device.cuh"

namespace ops::advance {

__device__ __forceinline__ void row(const AdvanceParams& p, int row) {
  const int next = p.position[row] + 1;
  const int* const prompt = p.prompt + static_cast<long long>(row) * p.prompt_stride;
  p.position[row] = next;
  p.token[row] = next < p.prompt_length[row] ? prompt[next] : p.chosen[row];
}

}  // namespace ops::advance
