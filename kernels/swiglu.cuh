#pragma once
// A thread an element. The exponential is taken of -|gate|, so that it neither overflows nor loses the tail:
// with 1 + exp(-gate) the result is 0 from gate = -88.8 on, where the true value is still 1e-37 (seven times
// the bound).
#include "kernels/device.cuh"
#include "kernels/swiglu.h"

namespace ops::swiglu {

__device__ __forceinline__ float swiglu(float gate, float up) {
  const float e = exp_f32(gate < 0.f ? gate : -gate);
  const float sigmoid = (gate < 0.f ? e : 1.f) / (1.f + e);
  return gate * sigmoid * up;
}

__device__ __forceinline__ void element(const SwigluParams& p, int i) { p.y[i] = swiglu(p.gate[i], p.up[i]); }

}  // namespace ops::swiglu
