#include "kernels/swiglu.cuh"

extern "C" __global__ void swiglu(SwigluParams p) {
  const int i = thread_in_grid();
  if (i < p.n) ops::swiglu::element(p, i);
}
