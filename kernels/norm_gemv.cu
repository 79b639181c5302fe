// x is normalized by each block for itself on its way into shared memory, while its first weights come.
#include "kernels/norm_gemv.cuh"

#define M40LLM_KERNEL(format, ...)                                                                     \
  extern "C" __global__ void __launch_bounds__(kProductThreads) norm_gemv_##format(NormGemvParams p) { \
    DYN_SHARED(float4, x);                                                                             \
    SHARED(ops::rms_norm::Shared, sums);                                                               \
    ops::norm_gemv::shared<formats::Reads<Format::format>>(p, x, sums);                                \
  }
M40LLM_FORMATS(M40LLM_KERNEL)
#undef M40LLM_KERNEL

#define M40LLM_KERNEL(format, ...)                                                                          \
  extern "C" __global__ void __launch_bounds__(kInt8Threads, 1) norm_gemv_int8_##format(NormGemvParams p) { \
    DYN_SHARED(float4, x);                                                                                  \
    SHARED(ops::rms_norm::Shared, sums);                                                                    \
    ops::norm_gemv::integers<formats::Reads<Format::format>>(p, x, sums);                                   \
  }
M40LLM_INTEGER_FORMATS(M40LLM_KERNEL)
#undef M40LLM_KERNEL
