// A thread an element: bound by the bytes it moves.
#include "kernels/cast.h"

#include "kernels/device.cuh"

extern "C" __global__ void cast_f32_f16(CastParams p) {
  const int i = static_cast<int>(blockIdx.x * blockDim.x + threadIdx.x);
  if (i < p.n) p.y[i] = float_to_half(p.x[i]);
}
