// One row of the table as float: a thread an element. The row is a few KB and read once a token, so that one
// mapping serves.
#include "kernels/embedding.h"

#include "kernels/device.cuh"

template <class Weight>
__device__ __forceinline__ void embed(const EmbeddingParams& p, Weight weight) {
  const int i = static_cast<int>(blockIdx.x * blockDim.x + threadIdx.x);
  if (i >= p.table.cols) return;
  const int row = *p.token;
  p.y[i] = row >= 0 && row < p.table.rows ? weight(static_cast<long long>(row) * p.table.stride + i) : 0.f;
}

extern "C" __global__ void embedding_f32(EmbeddingParams p) {
  embed(p, [&](long long i) { return static_cast<const float*>(p.table.values)[i]; });
}

extern "C" __global__ void embedding_f16(EmbeddingParams p) {
  embed(p, [&](long long i) { return half_to_float(static_cast<const half*>(p.table.values)[i]); });
}

extern "C" __global__ void embedding_q8_0(EmbeddingParams p) {
  embed(p, [&](long long i) {
    return half_to_float(p.table.scales[i / 32]) *
           static_cast<float>(static_cast<const signed char*>(p.table.values)[i]);
  });
}

extern "C" __global__ void embedding_q4_1(EmbeddingParams p) {
  embed(p, [&](long long i) {
    const long long block = i / 32;
    const int in_block = static_cast<int>(i % 32);
    const unsigned byte = static_cast<const unsigned char*>(p.table.values)[block * 16 + in_block % 16];
    const unsigned q = in_block < 16 ? byte & 15 : byte >> 4;
    return fmaf(half_to_float(p.table.scales[2 * block]), static_cast<float>(q),
                half_to_float(p.table.scales[2 * block + 1]));
  });
}
