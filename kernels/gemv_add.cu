// The two ways of gemv, for every format, and its op with integers.
#include "kernels/gemv_add.cuh"

#define M40LLM_KERNELS(format, ...)                                             \
  extern "C" __global__ void __launch_bounds__(kProductThreads, kGemvAddBlocks) \
      gemv_add_##format##_shared(GemvAddParams p) {                             \
    DYN_SHARED(float4, x);                                                      \
    ops::gemv_add::shared<formats::Reads<Format::format>>(p, x);                \
  }                                                                             \
  extern "C" __global__ void __launch_bounds__(kProductThreads, kGemvAddBlocks) \
      gemv_add_##format##_global(GemvAddParams p) {                             \
    ops::gemv_add::global<formats::Reads<Format::format>>(p);                   \
  }
M40LLM_FORMATS(M40LLM_KERNELS)
#undef M40LLM_KERNELS

#define M40LLM_KERNEL(format, ...)                                                                        \
  extern "C" __global__ void __launch_bounds__(kInt8Threads, 1) gemv_add_int8_##format(GemvAddParams p) { \
    DYN_SHARED(float4, x);                                                                                \
    ops::gemv_add::integers<formats::Reads<Format::format>>(p, x);                                        \
  }
M40LLM_INTEGER_FORMATS(M40LLM_KERNEL)
#undef M40LLM_KERNEL
