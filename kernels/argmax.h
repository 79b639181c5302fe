#pragma once

/// *index = the place of the largest x; of equal ones the first. If any x is not finite (NaN or an infinity of
/// either sign), the bitwise complement ~i, which is negative, of the first place i where it is not: so logits
/// that mean nothing never yield a token, at no cost beyond the reading that the largest takes.
struct ArgmaxParams {
  const float* x;  // (n), n >= 1
  int* index;      // device memory, one int
  int n;
};
