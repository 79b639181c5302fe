#pragma once
#include "kernels/gemv.cuh"
#include "kernels/gemv_add.h"

namespace ops::gemv_add {

/// A unit is one row: where rows are few, a unit of two would leave every second warp without one.
struct Product {
  static constexpr int kRows = 1;
  const GemvAddParams& p;
  __device__ __forceinline__ int n_units() const { return p.a.rows; }
  __device__ __forceinline__ int stride() const { return p.a.stride; }
  template <class F>
  __device__ __forceinline__ gemv::Rows<kRows> rows(int unit) const {
    return gemv::rows_of<F, kRows>(p.a, unit);
  }
  __device__ __forceinline__ gemv::Held prepare() const { return {}; }
  template <class X>
  __device__ __forceinline__ void put(const X& x, const gemv::Held&) const {
    gemv::copy_x(x, p.x, p.a.stride);
  }
  __device__ __forceinline__ void put(const gemv::GlobalX&, const gemv::Held&) const {}
  __device__ __forceinline__ float2 beside(int unit) const {
    return {threadIdx.x % 32 == 0 ? p.y[unit] : 0.f, 0.f};
  }
  __device__ __forceinline__ void store(int unit, const float (&totals)[kRows], float2 beside) const {
    if (threadIdx.x % 32 == 0) p.y[unit] = beside.x + totals[0];
  }
};

template <class F>
__device__ __forceinline__ void shared(const GemvAddParams& p, float4* memory) {
  gemv::walk<F>(Product{p}, gemv::PaddedX{memory});
}

template <class F>
__device__ __forceinline__ void global(const GemvAddParams& p) {
  gemv::walk<F>(Product{p}, gemv::GlobalX{reinterpret_cast<const float4*>(p.x)});
}

template <class F>
__device__ __forceinline__ void integers(const GemvAddParams& p, float4* memory) {
  gemv::walk<formats::Int8<F>>(Product{p}, int8::row_in(memory, p.a.stride));
}

}  // namespace ops::gemv_add
