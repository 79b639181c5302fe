// Two ways, for every format (formats.cuh says how a lane reads it); both have the same bits. For formats of integers also
// an op of its own, with other bits, that multiplies them with x as integers (int8.cuh).
// 1. ..._shared: x once a block into shared memory, where two rows a warp share each read of it.
// 2. ..._global: x from global memory, for rows too wide for the other.
#include "kernels/gemv.cuh"

#define M40LLM_KERNELS(format, ...)                                                                    \
  extern "C" __global__ void __launch_bounds__(kProductThreads) gemv_##format##_shared(GemvParams p) { \
    DYN_SHARED(float4, x);                                                                             \
    ops::gemv::shared<formats::Reads<Format::format>>(p, x);                                           \
  }                                                                                                    \
  extern "C" __global__ void __launch_bounds__(kProductThreads) gemv_##format##_global(GemvParams p) { \
    ops::gemv::global<formats::Reads<Format::format>>(p);                                              \
  }
M40LLM_FORMATS(M40LLM_KERNELS)
#undef M40LLM_KERNELS

#define M40LLM_KERNEL(format, ...)                                                                 \
  extern "C" __global__ void __launch_bounds__(kInt8Threads, 1) gemv_int8_##format(GemvParams p) { \
    DYN_SHARED(float4, x);                                                                         \
    ops::gemv::integers<formats::Reads<Format::format>>(p, x);                                     \
  }
M40LLM_INTEGER_FORMATS(M40LLM_KERNEL)
#undef M40LLM_KERNEL
