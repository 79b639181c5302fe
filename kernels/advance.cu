#include "kernels/advance.cuh"

extern "C" __global__ void advance(AdvanceParams p) {
  wait_for_earlier_kernels();
  const int row = thread_in_grid();
  if (row < p.n_rows) ops::advance::row(p, row);
}
