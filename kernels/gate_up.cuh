#pragma once
// A unit is a row of the gate and the same row of up: the warp that sums both applies SwiGLU.
#include "kernels/gate_up.h"
#include "kernels/norm_gemv.cuh"
#include "kernels/swiglu.cuh"

namespace ops::gate_up {

struct Product {
  static constexpr int kRows = 2;
  const GateUpParams& p;
  rms_norm::Shared& sums;
  __device__ __forceinline__ int n_units() const { return p.gate.rows; }
  __device__ __forceinline__ int stride() const { return p.gate.stride; }
  template <class F>
  __device__ __forceinline__ gemv::Rows<kRows> rows(int unit) const {
    return {{formats::row_of<F>(p.gate, unit), formats::row_of<F>(p.up, unit)}};
  }
  __device__ __forceinline__ gemv::Held prepare() const { return norm_gemv::held(p.weight, p.gate.cols); }
  template <class X>
  __device__ __forceinline__ void put(const X& x, const gemv::Held& held) const {
    norm_gemv::normed_x(x, p.x, p.weight, held, p.gate.cols, p.gate.stride, p.eps, sums);
  }
  __device__ __forceinline__ float2 beside(int) const { return {}; }
  __device__ __forceinline__ void store(int unit, const float (&totals)[kRows], float2) const {
    if (threadIdx.x % 32 == 0) p.y[unit] = swiglu::swiglu(totals[0], totals[1]);
  }
};

template <class F>
__device__ __forceinline__ void shared(const GateUpParams& p, float4* memory, rms_norm::Shared& sums) {
  gemv::walk<F>(Product{p, sums}, gemv::PaddedX{memory});
}

template <class F>
__device__ __forceinline__ void integers(const GateUpParams& p, float4* memory, rms_norm::Shared& sums) {
  gemv::walk<formats::Int8<F>>(Product{p, sums}, int8::row_in(memory, p.gate.stride));
}

}  // namespace ops::gate_up
