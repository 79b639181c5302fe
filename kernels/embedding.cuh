#pragma once
#include "kernels/embedding.h"
#include "kernels/formats.cuh"

namespace ops::embedding {

/// Element i of the token's row.
template <class F>
__device__ __forceinline__ void element(const EmbeddingParams& p, int i) {
  const int row = *p.token;
  p.y[i] = row >= 0 && row < p.table.rows
               ? F::weight(p.table, static_cast<long long>(row) * p.table.stride + i)
               : 0.f;
}

}  // namespace ops::embedding
