// One row of the table as float: a thread an element. The row is a few KB and read once a token, so that one
// mapping serves.
#include "kernels/embedding.cuh"

#define M40LLM_KERNEL(format, ...)                                                       \
  extern "C" __global__ void embedding_##format(EmbeddingParams p) {                     \
    wait_for_earlier_kernels();                                                          \
    const int i = thread_in_grid();                                                      \
    if (i < p.table.cols) ops::embedding::element<formats::Reads<Format::format>>(p, i); \
  }
M40LLM_FORMATS(M40LLM_KERNEL)
#undef M40LLM_KERNEL
