// One row of the table as float: a thread an element. The row is a few KB and read once a token, so that one
// mapping serves.
#include "kernels/embedding.cuh"

extern "C" __global__ void embedding_f32(EmbeddingParams p) {
  const int i = thread_in_grid();
  if (i < p.table.cols) ops::embedding::element<formats::F32>(p, i);
}

extern "C" __global__ void embedding_f16(EmbeddingParams p) {
  const int i = thread_in_grid();
  if (i < p.table.cols) ops::embedding::element<formats::F16>(p, i);
}

extern "C" __global__ void embedding_q8_0(EmbeddingParams p) {
  const int i = thread_in_grid();
  if (i < p.table.cols) ops::embedding::element<formats::Q8_0>(p, i);
}

extern "C" __global__ void embedding_q4_1(EmbeddingParams p) {
  const int i = thread_in_grid();
  if (i < p.table.cols) ops::embedding::element<formats::Q4_1>(p, i);
}

extern "C" __global__ void embedding_q4_0(EmbeddingParams p) {
  const int i = thread_in_grid();
  if (i < p.table.cols) ops::embedding::element<formats::Q4_0>(p, i);
}

extern "C" __global__ void embedding_q4_k(EmbeddingParams p) {
  const int i = thread_in_grid();
  if (i < p.table.cols) ops::embedding::element<formats::Q4_K>(p, i);
}

extern "C" __global__ void embedding_q6_k(EmbeddingParams p) {
  const int i = thread_in_grid();
  if (i < p.table.cols) ops::embedding::element<formats::Q6_K>(p, i);
}
