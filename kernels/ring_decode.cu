// Decode steps for as long as the host feeds them: persistent_decode's ops, once a token.
#include "kernels/ring_decode.cuh"

extern "C" __global__ void __launch_bounds__(256, 2) ring_decode(RingDecodeParams p) {
  DYN_SHARED(float4, memory);
  SHARED(ops::ring_decode::Shared, shared);
  ops::ring_decode::run(p, memory, shared);
}
