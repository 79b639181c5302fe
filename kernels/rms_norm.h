#pragma once

/// y = x / sqrt(mean(x^2) + eps) * weight, row by row (Zhang and Sennrich, 2019).
struct RmsNormParams {
  const float* x;       // (n_rows, width)
  const float* weight;  // (width)
  float* y;             // (n_rows, width), not x
  int n_rows;
  int width;
  float eps;
};
