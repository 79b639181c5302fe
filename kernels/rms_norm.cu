#include "kernels/rms_norm.cuh"

extern "C" __global__ void rms_norm_block(RmsNormParams p) {
  SHARED(ops::rms_norm::Shared, shared);
  const auto group = Group<ops::rms_norm::kBlock>::mine();
  if (group.rank < p.n_rows) ops::rms_norm::block_row<false>(group, p, group.rank, shared);
}

extern "C" __global__ void rms_norm_warp(RmsNormParams p) {
  const auto warp = Group<32>::mine();
  if (warp.rank < p.n_rows) ops::rms_norm::warp_row(warp, p, warp.rank);
}
