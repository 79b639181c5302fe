#pragma once
// A row of x as 8-bit integers: x = d q by blocks of 32, d = amax / 127 and q = x / d to the nearest, ties to even. A
// product of integers is exact, four of them an instruction or two, and takes a quarter of the shared memory.
//
// A block whose amax is below 2^-100 is zeros: 1 / d has no float then. With an infinity or NaN in it d is not finite and
// every q is 0: what it is multiplied with is NaN.
#include "kernels/device.cuh"
#include "kernels/int8.h"

namespace int8 {

constexpr int kBlock = 32;

/// Of the 32 values of a block.
struct Scale {
  float d;
  int sums;  // of q over the first 16, in the low half, and over the other 16
};

/// x four bytes a word, a uint4 of gap behind every eight, and the scales.
struct Row {
  uint4* q;
  Scale* scales;
  /// Values 16 i and so on.
  __device__ __forceinline__ const uint4& sixteen(int i) const { return q[i + i / 8]; }
  /// Values 4 i and so on.
  __device__ __forceinline__ unsigned& four(int i) const {
    return reinterpret_cast<unsigned*>(q)[i + i / 32 * 4];
  }
  __device__ __forceinline__ void put(int i, float4 v, bool there) const;
};
__device__ __forceinline__ Row row_in(float4* memory, int stride) {
  return {reinterpret_cast<uint4*>(memory) + (stride / kBlock + 1) / 2, reinterpret_cast<Scale*>(memory)};
}

__device__ __forceinline__ int first_sum(Scale scale) {
  return static_cast<int>(static_cast<unsigned>(scale.sums) << 16) >> 16;
}
__device__ __forceinline__ int second_sum(Scale scale) { return scale.sums >> 16; }

__device__ __forceinline__ int half_sum(Scale scale, int half) {
  return half == 0 ? first_sum(scale) : second_sum(scale);
}

__device__ __forceinline__ unsigned magnitude_bits(float x) { return float_to_bits(x) & 0x7fffffffu; }

/// The nearest integer in the low byte: |x| is far below 2^22, where the added number's last place is 1.
__device__ __forceinline__ unsigned nearest_in_byte(float x) { return float_to_bits(x + 12582912.f) & 0xffu; }

/// Quad i: by whole warps, eight lanes a block; those behind the row's end with `there` false.
__device__ __forceinline__ void Row::put(int i, float4 v, bool there) const {
  unsigned amax = max_of(max_of(magnitude_bits(v.x), magnitude_bits(v.y)),
                         max_of(magnitude_bits(v.z), magnitude_bits(v.w)));
#pragma unroll
  for (unsigned lanes = 4; lanes != 0; lanes /= 2)
    amax = max_of(amax, static_cast<unsigned>(shuffle_xor(kFullWarp, static_cast<int>(amax), lanes)));
  const bool finite = amax < 0x7f800000u;
  const bool tiny = amax < 0x0d800000u;  // 2^-100
  const float d = tiny ? 0.f : bits_to_float(amax) / 127.f;
  const float inverse = tiny || !finite ? 0.f : 1.f / d;
  unsigned bytes = nearest_in_byte(v.x * inverse) | nearest_in_byte(v.y * inverse) << 8 |
                   nearest_in_byte(v.z * inverse) << 16 | nearest_in_byte(v.w * inverse) << 24;
  if (!finite) bytes = 0;
  int sum = dot4(bytes, 0x01010101u, 0);
  sum += shuffle_xor(kFullWarp, sum, 2);
  sum += shuffle_xor(kFullWarp, sum, 1);
  const int other = shuffle_xor(kFullWarp, sum, 4);
  if (there) {
    four(i) = bytes;
    if (i % 8 == 0) scales[i / 8] = {d, (sum & 0xffff) | other << 16};
  }
}

}  // namespace int8
