#pragma once
#include <string>
#include <vector>

#include "engine/device/simt/simt_device.hpp"

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

/// As long as it lives, every SIMT device launches the mutant's kernels in place of the shipped ones.
class Substituted {
 public:
  explicit Substituted(const Mutant& mutant) : mutant_(mutant) {
    for (const MutantKernel& kernel : mutant.kernels) substitute_kernel(kernel.name, kernel.function);
  }
  Substituted(const Substituted&) = delete;
  Substituted& operator=(const Substituted&) = delete;
  ~Substituted() {
    for (const MutantKernel& kernel : mutant_.kernels) substitute_kernel(kernel.name, nullptr);
  }

 private:
  const Mutant& mutant_;
};

}  // namespace m40llm::testing
