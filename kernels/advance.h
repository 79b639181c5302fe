#pragma once

/// The end of a step: each row goes to its next position, and to the token there, which is its prompt's as far as
/// that goes and then the one that was chosen. So the host says nothing between two steps.
struct AdvanceParams {
  int* token;                // (n_rows): the one fed, then the next
  int* position;             // (n_rows): likewise
  const int* chosen;         // (n_rows)
  const int* prompt;         // (n_rows, prompt_stride)
  const int* prompt_length;  // (n_rows), each at most prompt_stride
  int n_rows;
  int prompt_stride;
};
