// Three ops in one kernel with a grid barrier between them, and in a launch each: the same functions.
#include "tests/language/composed.h"

#include "kernels/attention_decode.cuh"
#include "kernels/device.cuh"
#include "kernels/rms_norm.cuh"
#include "kernels/swiglu.cuh"

// One piece of shared memory serves all in turn.
union ComposedShared {
  ops::rms_norm::Shared norm;
  ops::attention_decode::WarpsShared attention;
};

extern "C" __global__ void composed(ComposedParams p) {
  SHARED(ComposedShared, shared);
  const auto block = Group<256>::mine();
  for (int row = block.rank; row < p.norm.n_rows; row += block.count) {
    ops::rms_norm::block_row<false>(block, p.norm, row, shared.norm);
    block.sync();
  }
  grid_barrier(p.barrier);
  for (int unit = block.rank; unit < p.attention.n_rows * p.attention.n_heads; unit += block.count) {
    ops::attention_decode::warps(block, p.attention, unit, shared.attention);
    block.sync();
  }
  grid_barrier(p.barrier);
  for (int i = thread_in_grid(); i < p.swiglu.n; i += block.count * 256) ops::swiglu::element(p.swiglu, i);
}

extern "C" __global__ void composed_norm(ComposedParams p) {
  SHARED(ops::rms_norm::Shared, shared);
  const auto block = Group<256>::mine();
  if (block.rank < p.norm.n_rows) ops::rms_norm::block_row<false>(block, p.norm, block.rank, shared);
}
extern "C" __global__ void composed_attention(ComposedParams p) {
  SHARED(ops::attention_decode::WarpsShared, shared);
  const auto block = Group<256>::mine();
  ops::attention_decode::warps(block, p.attention, block.rank, shared);
}
extern "C" __global__ void composed_swiglu(ComposedParams p) {
  const int i = thread_in_grid();
  if (i < p.swiglu.n) ops::swiglu::element(p.swiglu, i);
}
