#include "kernels/attention_decode.cuh"

extern "C" __global__ void attention_decode_tile(AttentionDecodeParams p) {
  SHARED(ops::attention_decode::TileShared, shared);
  const auto block = Group<ops::attention_decode::kTile>::mine();
  if (block.rank < p.n_rows * p.n_heads) ops::attention_decode::tile<false>(block, p, block.rank, shared);
}

extern "C" __global__ void attention_decode_warps(AttentionDecodeParams p) {
  SHARED(ops::attention_decode::WarpsShared, shared);
  const auto block = Group<32 * ops::attention_decode::kWarps>::mine();
  if (block.rank < p.n_rows * p.n_heads) ops::attention_decode::warps(block, p, block.rank, shared);
}

extern "C" __global__ void __launch_bounds__(ops::attention_decode::kSplitThreads, kAttentionBlocks[1 - 1])
    attention_decode_split_1(AttentionDecodeParams p) {
  wait_for_earlier_kernels();
  SHARED(ops::attention_decode::SplitShared<1>, shared);
  ops::attention_decode::split_all(Group<ops::attention_decode::kSplitThreads>::mine(), p, shared);
}

extern "C" __global__ void __launch_bounds__(ops::attention_decode::kSplitThreads, kAttentionBlocks[2 - 1])
    attention_decode_split_2(AttentionDecodeParams p) {
  wait_for_earlier_kernels();
  SHARED(ops::attention_decode::SplitShared<2>, shared);
  ops::attention_decode::split_all(Group<ops::attention_decode::kSplitThreads>::mine(), p, shared);
}

extern "C" __global__ void __launch_bounds__(ops::attention_decode::kSplitThreads, kAttentionBlocks[3 - 1])
    attention_decode_split_3(AttentionDecodeParams p) {
  wait_for_earlier_kernels();
  SHARED(ops::attention_decode::SplitShared<3>, shared);
  ops::attention_decode::split_all(Group<ops::attention_decode::kSplitThreads>::mine(), p, shared);
}

extern "C" __global__ void __launch_bounds__(ops::attention_decode::kSplitThreads, kAttentionBlocks[4 - 1])
    attention_decode_split_4(AttentionDecodeParams p) {
  wait_for_earlier_kernels();
  SHARED(ops::attention_decode::SplitShared<4>, shared);
  ops::attention_decode::split_all(Group<ops::attention_decode::kSplitThreads>::mine(), p, shared);
}
