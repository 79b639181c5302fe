// A thread an element. For gate below -88.8 the exponential is infinite and the result 0; the true value is under 1e-36.
#include "kernels/swiglu.h"

#include "kernels/device.cuh"

extern "C" __global__ void swiglu(SwigluParams p) {
  const int i = static_cast<int>(blockIdx.x * blockDim.x + threadIdx.x);
  if (i >= p.n) return;
  const float gate = p.gate[i];
  p.y[i] = gate / (1.f + exp_f32(-gate)) * p.up[i];
}
