#pragma once

/// *index = the place of the largest x; of equal ones the first. NaN is never the largest; all NaN gives 0.
struct ArgmaxParams {
  const float* x;  // (n), n >= 1
  int* index;      // device memory, one int
  int n;
};
