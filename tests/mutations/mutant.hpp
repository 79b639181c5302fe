#pragma once
#include <string>
#include <vector>

/// Kernels with a planted fault, made from the shipped ones by plant.py.
namespace m40llm::testing {

struct MutantKernel {
  const char* name;  ///< of the shipped kernel
  void (*function)();
};

struct Mutant {
  std::string name;
  std::string ops;  ///< a regular expression: the ops that must notice
  std::string net;  ///< what must catch it: gates, order, language, checker, sanitizer
  std::vector<MutantKernel> kernels;
};

/// All of mutations.toml.
std::vector<Mutant> mutants();

}  // namespace m40llm::testing
