#include "kernels/rope.cuh"

extern "C" __global__ void rope_normal(RopeParams p) {
  const int pair = thread_in_grid();
  if (pair < ops::rope::n_pairs(p)) ops::rope::normal_pair(p, pair);
}

extern "C" __global__ void rope_neox(RopeParams p) {
  const int pair = thread_in_grid();
  if (pair < ops::rope::n_pairs(p)) ops::rope::neox_pair(p, pair);
}
