#pragma once
#include "kernels/gemv.cuh"
#include "kernels/gemv_add.h"

namespace ops::gemv_add {

__device__ __forceinline__ void add_rows(const GemvAddParams& p, int unit,
                                         const float (&totals)[gemv::kRows]) {
#pragma unroll
  for (int r = 0; r < gemv::kRows; ++r) {
    const int row = gemv::kRows * unit + r;
    if (threadIdx.x % 32 == 0 && row < p.a.rows) p.y[row] += totals[r];
  }
}

struct Product {
  const GemvAddParams& p;
  __device__ __forceinline__ int n_units() const { return gemv::n_units(p.a); }
  __device__ __forceinline__ int stride() const { return p.a.stride; }
  template <class F>
  __device__ __forceinline__ gemv::Rows rows(int unit) const {
    return gemv::rows_of<F>(p.a, unit);
  }
  template <class X>
  __device__ __forceinline__ void prepare(const X&) const {}
  __device__ __forceinline__ void put(const gemv::PaddedX& x) const { gemv::copy_x(x, p.x, p.a.stride); }
  __device__ __forceinline__ void put(const gemv::GlobalX&) const {}
  __device__ __forceinline__ void store(int unit, const float (&totals)[gemv::kRows]) const {
    add_rows(p, unit, totals);
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

}  // namespace ops::gemv_add
