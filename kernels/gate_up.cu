#include "kernels/gate_up.cuh"

#define M40LLM_KERNEL(format, ...)                                                                 \
  extern "C" __global__ void __launch_bounds__(kProductThreads) gate_up_##format(GateUpParams p) { \
    DYN_SHARED(float4, x);                                                                         \
    SHARED(ops::rms_norm::Shared, sums);                                                           \
    ops::gate_up::shared<formats::Reads<Format::format>>(p, x, sums);                              \
  }
M40LLM_FORMATS(M40LLM_KERNEL)
#undef M40LLM_KERNEL

#define M40LLM_KERNEL(format, ...)                                                                      \
  extern "C" __global__ void __launch_bounds__(kInt8Threads, 1) gate_up_int8_##format(GateUpParams p) { \
    DYN_SHARED(float4, x);                                                                              \
    SHARED(ops::rms_norm::Shared, sums);                                                                \
    ops::gate_up::integers<formats::Reads<Format::format>>(p, x, sums);                                 \
  }
M40LLM_INTEGER_FORMATS(M40LLM_KERNEL)
#undef M40LLM_KERNEL
