#pragma once
// Types that kernels and their launchers share. NVRTC knows CUDA's vector types by itself; on the host they
// are defined here, with CUDA's layout and alignment, so that no NVIDIA header is needed.

/// An IEEE binary16 as stored. There is no arithmetic on it: sm_52 has none.
struct half {
  unsigned short bits;
};

#ifndef __CUDACC_RTC__
struct alignas(8) float2 {
  float x, y;
};
struct alignas(16) float4 {
  float x, y, z, w;
};
struct alignas(8) uint2 {
  unsigned x, y;
};
struct alignas(16) uint4 {
  unsigned x, y, z, w;
};
#endif
