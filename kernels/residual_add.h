#pragma once

/// x += y.
struct ResidualAddParams {
  float* x;        // (n)
  const float* y;  // (n)
  int n;
};
