#pragma once
// A unit is a row of the gate and the same row of up: the warp that sums both applies SwiGLU.
#include "kernels/gate_up.h"
#include "kernels/norm_gemv.cuh"
#include "kernels/swiglu.cuh"

namespace ops::gate_up {

template <class F>
__device__ __forceinline__ void shared(const GateUpParams& p, float4* memory, rms_norm::Shared& sums) {
  const gemv::PaddedX x{memory};
  gemv::walk<F>(
      p.gate.rows, p.gate.stride, x,
      [&](int unit) {
        return gemv::Rows{{formats::row_of<F>(p.gate, unit), formats::row_of<F>(p.up, unit)}};
      },
      [&] { norm_gemv::normed_x(x, p.x, p.weight, p.gate.cols, p.gate.stride, p.eps, sums); },
      [&](int unit, const float(&totals)[gemv::kRows]) {
        if (threadIdx.x % 32 == 0) p.y[unit] = swiglu::swiglu(totals[0], totals[1]);
      });
}

}  // namespace ops::gate_up
