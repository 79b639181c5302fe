#pragma once

/// sums[i] = the sum, modulo 2^32, of part i of x: a plain read of device memory, which other kernels' bandwidth is held
/// against. All that is read goes into a sum, which is exact in any order: so nothing can be left out unseen.
struct ReadParams {
  const unsigned* x;  // (n), 16-byte aligned
  unsigned* sums;     // (n / kReadPart, rounded up)
  int n;              // a multiple of 4
};

/// Words of a part, which a warp reads.
inline constexpr int kReadPart = 1024;
/// Threads of a block, and blocks an SM: 128 KB in flight, several times what keeps any GPU's memory busy (bandwidth times
/// latency).
inline constexpr int kReadThreads = 256;
inline constexpr int kReadBlocks = 4;
