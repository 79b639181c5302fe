#pragma once

/// y[row] += b, in place, row by row.
struct BiasParams {
  float* y;        // (n_rows, n)
  const float* b;  // (n)
  int n_rows;      // at most 65535
  int n;
};
