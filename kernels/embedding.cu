// One row of the table as float: a thread an element. The row is a few KB and read once a token, so that one
// mapping serves.
#include "kernels/embedding.cuh"

extern "C" __global__ void embedding_f32(EmbeddingParams p) { embedding::element_a_thread<formats::F32>(p); }
extern "C" __global__ void embedding_f16(EmbeddingParams p) { embedding::element_a_thread<formats::F16>(p); }
extern "C" __global__ void embedding_q8_0(EmbeddingParams p) { embedding::element_a_thread<formats::Q8_0>(p); }
extern "C" __global__ void embedding_q4_1(EmbeddingParams p) { embedding::element_a_thread<formats::Q4_1>(p); }
