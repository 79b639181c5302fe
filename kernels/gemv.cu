// Two ways, for every format (formats.cuh says how a lane reads it):
// 1. ..._shared: x once a block into shared memory, two rows a warp share each read of it. Needs x in 48 KB.
// 2. the others: one warp a row, x from global memory.
// On an H200 both reach 4.1 TB/s with F16 at 28672 x 8192 (85 % of its peak); q4_1_block has 0.35 of the speed of
// q4_1_word_shared.
#include "kernels/gemv.cuh"

extern "C" __global__ void gemv_f32_warp(GemvParams p) { gemv::warp_a_row<formats::F32>(p); }

extern "C" __global__ void gemv_f16_rows2_shared(GemvParams p) {
  DYN_SHARED(float4, x);
  gemv::two_rows_a_warp<formats::F16>(p, x);
}
extern "C" __global__ void gemv_f16_warp(GemvParams p) { gemv::warp_a_row<formats::F16>(p); }

extern "C" __global__ void gemv_q8_0_warp(GemvParams p) { gemv::warp_a_row<formats::Q8_0>(p); }

extern "C" __global__ void gemv_q4_1_word_shared(GemvParams p) {
  DYN_SHARED(float4, x);
  gemv::two_rows_a_warp<formats::Q4_1>(p, x);
}
extern "C" __global__ void gemv_q4_1_block(GemvParams p) { gemv::warp_a_row<formats::Q4_1Block>(p); }
