#pragma once
// A warp a part of 4 KB, all of it in flight at once: a lane has eight loads of 16 bytes. As many blocks as there are places
// for walk over the parts. Without the launch bounds the compiler keeps to 32 registers, and four loads.
#include "kernels/device.cuh"
#include "kernels/read.h"

namespace ops::read {

constexpr int kAhead = kReadPart / 4 / 32;

/// The sum of part `part`, in every lane.
__device__ __forceinline__ unsigned part(const Group<32>& warp, const ReadParams& p, int part) {
  const uint4* const x = reinterpret_cast<const uint4*>(p.x);
  const int first = part * (kReadPart / 4) + warp.thread;
  uint4 v[kAhead];
#pragma unroll
  for (int j = 0; j < kAhead; ++j) {
    v[j] = {0, 0, 0, 0};
    if (first + 32 * j < p.n / 4) v[j] = load_once(x + first + 32 * j);
  }
  unsigned sum = 0;
#pragma unroll
  for (int j = 0; j < kAhead; ++j) sum += (v[j].x + v[j].y) + (v[j].z + v[j].w);
  for (unsigned offset = 16; offset != 0; offset /= 2)
    sum += static_cast<unsigned>(shuffle_xor(kFullWarp, static_cast<int>(sum), offset));
  return sum;
}

}  // namespace ops::read
