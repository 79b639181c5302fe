#include "kernels/argmax.cuh"

extern "C" __global__ void argmax_block(ArgmaxParams p) {
  SHARED(ops::argmax::Shared, shared);
  const auto group = Group<ops::argmax::kBlock>::mine();
  if (group.rank < p.n_rows) ops::argmax::row(group, p, group.rank, shared);
}

extern "C" __global__ void argmax_parts(ArgmaxParams p) {
  wait_for_earlier_kernels();
  SHARED(ops::argmax::Shared, shared);
  const auto group = Group<ops::argmax::kBlock>::mine();
  if (group.rank < p.n_rows * p.n_parts)
    ops::argmax::part(group, p, group.rank / p.n_parts, group.rank % p.n_parts, shared);
}

extern "C" __global__ void argmax_join(ArgmaxParams p) {
  wait_for_earlier_kernels();
  const auto warp = Group<32>::mine();
  if (warp.rank < p.n_rows) ops::argmax::join(warp, p, warp.rank);
}
