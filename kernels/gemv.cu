// Two ways, for every format (formats.cuh says how a lane reads it):
// 1. ..._shared: x once a block into shared memory, two rows a warp share each read of it. Needs x in 48 KB.
// 2. the others: one warp a row, x from global memory.
// On an H200 both reach 4.1 TB/s with F16 at 28672 x 8192 (85 % of its peak); q4_1_block has 0.35 of the speed of
// q4_1_word_shared.
#include "kernels/gemv.cuh"

extern "C" __global__ void gemv_f32_warp(GemvParams p) {
  const auto warp = Group<32>::mine();
  if (warp.rank < p.a.rows) ops::gemv::warp_row<formats::F32>(warp, p, warp.rank);
}

extern "C" __global__ void gemv_f16_rows2_shared(GemvParams p) {
  DYN_SHARED(float4, x);
  const auto warp = Group<32>::mine();
  ops::gemv::warp_two_rows<formats::F16>(warp, p, warp.rank, x);
}
extern "C" __global__ void gemv_f16_warp(GemvParams p) {
  const auto warp = Group<32>::mine();
  if (warp.rank < p.a.rows) ops::gemv::warp_row<formats::F16>(warp, p, warp.rank);
}

extern "C" __global__ void gemv_q8_0_warp(GemvParams p) {
  const auto warp = Group<32>::mine();
  if (warp.rank < p.a.rows) ops::gemv::warp_row<formats::Q8_0>(warp, p, warp.rank);
}

extern "C" __global__ void gemv_q4_1_word_shared(GemvParams p) {
  DYN_SHARED(float4, x);
  const auto warp = Group<32>::mine();
  ops::gemv::warp_two_rows<formats::Q4_1>(warp, p, warp.rank, x);
}
extern "C" __global__ void gemv_q4_1_block(GemvParams p) {
  const auto warp = Group<32>::mine();
  if (warp.rank < p.a.rows) ops::gemv::warp_row<formats::Q4_1Block>(warp, p, warp.rank);
}

extern "C" __global__ void gemv_q4_0_word_shared(GemvParams p) {
  DYN_SHARED(float4, x);
  const auto warp = Group<32>::mine();
  ops::gemv::warp_two_rows<formats::Q4_0>(warp, p, warp.rank, x);
}
extern "C" __global__ void gemv_q4_0_word(GemvParams p) {
  const auto warp = Group<32>::mine();
  if (warp.rank < p.a.rows) ops::gemv::warp_row<formats::Q4_0>(warp, p, warp.rank);
}

extern "C" __global__ void gemv_q4_k_word_shared(GemvParams p) {
  DYN_SHARED(float4, x);
  const auto warp = Group<32>::mine();
  ops::gemv::warp_two_rows<formats::Q4_K>(warp, p, warp.rank, x);
}
extern "C" __global__ void gemv_q4_k_word(GemvParams p) {
  const auto warp = Group<32>::mine();
  if (warp.rank < p.a.rows) ops::gemv::warp_row<formats::Q4_K>(warp, p, warp.rank);
}

extern "C" __global__ void gemv_q6_k_words_shared(GemvParams p) {
  DYN_SHARED(float4, x);
  const auto warp = Group<32>::mine();
  ops::gemv::warp_two_rows<formats::Q6_K>(warp, p, warp.rank, x);
}
extern "C" __global__ void gemv_q6_k_words(GemvParams p) {
  const auto warp = Group<32>::mine();
  if (warp.rank < p.a.rows) ops::gemv::warp_row<formats::Q6_K>(warp, p, warp.rank);
}
