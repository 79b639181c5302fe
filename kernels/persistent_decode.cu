// A decode step as one launch. Two blocks of 256 threads an SM and 128 registers a thread: all that sm_52 has.
#include "kernels/persistent_decode.cuh"

extern "C" __global__ void __launch_bounds__(256, 2) persistent_decode(PersistentDecodeParams p) {
  DYN_SHARED(float4, memory);
  SHARED(ops::persistent_decode::Shared, shared);
  ops::persistent_decode::run(p, memory, shared);
}
