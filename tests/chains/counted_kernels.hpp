#pragma once
#include <vector>

namespace m40llm::testing {

/// A kernel that gives counts of roundings in the place of floats.
struct CountedKernel {
  const char* name;
  void (*function)();
};
/// All of kernels/, as count.py made them.
std::vector<CountedKernel> counted_kernels();

}  // namespace m40llm::testing
