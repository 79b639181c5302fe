#pragma once
#include "kernels/embedding.h"
#include "kernels/formats.cuh"

namespace embedding {

/// Element i of the token's row.
template <class F>
__device__ __forceinline__ void run(const Matrix& table, int token, int i, float* __restrict__ y) {
  if (i < table.cols) {
    y[i] = token >= 0 && token < table.rows ? F::weight(table, static_cast<long long>(token) * table.stride + i)
                                            : 0.f;
  }
}

/// A unit, one element, a thread.
template <class F>
__device__ __forceinline__ void element_a_thread(const EmbeddingParams& p) {
  run<F>(p.table, *p.token, static_cast<int>(blockIdx.x * blockDim.x + threadIdx.x), p.y);
}

}  // namespace embedding
