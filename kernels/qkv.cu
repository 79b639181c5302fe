#include "kernels/qkv.cuh"

#define M40LLM_KERNEL(format, ...)                                                          \
  extern "C" __global__ void __launch_bounds__(kProductThreads) qkv_##format(QkvParams p) { \
    DYN_SHARED(float4, x);                                                                  \
    SHARED(ops::qkv::Shared, own);                                                          \
    ops::qkv::shared<formats::Reads<Format::format>>(p, x, own);                            \
  }
M40LLM_FORMATS(M40LLM_KERNEL)
#undef M40LLM_KERNEL

#define M40LLM_KERNEL(format, ...)                                                               \
  extern "C" __global__ void __launch_bounds__(kInt8Threads, 1) qkv_int8_##format(QkvParams p) { \
    DYN_SHARED(float4, x);                                                                       \
    SHARED(ops::qkv::Shared, own);                                                               \
    ops::qkv::integers<formats::Reads<Format::format>>(p, x, own);                               \
  }
M40LLM_INTEGER_FORMATS(M40LLM_KERNEL)
#undef M40LLM_KERNEL
