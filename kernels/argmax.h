#pragma once

/// A value that may be the largest, and its place; index < 0: none yet.
struct ArgmaxCandidate {
  float value;
  int index;
};

/// index[row] = the place of the row's largest x; of equal ones the first. If any x is not finite (NaN or an
/// infinity of either sign), the bitwise complement ~i, which is negative, of the first place i where it is not: so
/// logits that mean nothing never yield a token, at no cost beyond the reading that the largest takes.
struct ArgmaxParams {
  const float* x;  // (n_rows, n), n >= 1
  int* index;      // device memory, (n_rows)
  int n_rows;
  int n;
  int n_parts = 1;                   // that a row is split into, by variants that split it
  ArgmaxCandidate* parts = nullptr;  // (n_rows, n_parts), their scratch
};
