#pragma once

/// y = gate / (1 + exp(-gate)) * up (Shazeer, 2020).
struct SwigluParams {
  const float* gate;  // (n)
  const float* up;    // (n)
  float* y;           // (n)
  int n;
};
