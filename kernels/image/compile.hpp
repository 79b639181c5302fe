#pragma once
#include <filesystem>
#include <map>
#include <string>

/// Kernel sources to machine code, by NVRTC.
namespace m40llm::image {

/// Text of the headers a compile read, by the name in the #include.
using Headers = std::map<std::string, std::string>;

/// A kernel source, and where its #include "..." are looked up: under the project's root and nowhere else.
struct Source {
  std::string name;  ///< as messages show it: "kernels/rms_norm.cu"
  std::string text;
  std::filesystem::path root;
};

/// What ptxas says of a kernel beside what its cubin holds.
struct Spill {
  int stores_bytes = 0;
  int loads_bytes = 0;
};

/// One source compiled for one arch.
struct Compiled {
  std::string arch;
  std::string ptx;                      ///< ends with NUL
  std::string cubin;                    ///< machine code; empty for "compute_52"
  std::map<std::string, Spill> spills;  ///< of every kernel that spills; always empty for "compute_52"
  std::string diagnostics;              ///< what the compiler had to say: warnings, never empty lines
  Headers headers;                      ///< what it read, transitively
};

/// Compiles for an arch: "sm_52" (a cubin) or "compute_52" (PTX). Contraction is off and division and square
/// root are the IEEE ones, so that a kernel gives the same bits as on the SIMT device. Headers that are
/// already known spare a round. Throws std::runtime_error with the compiler's own message, "kernels/rms_norm.cu(12):
/// error: ..." when the source does not compile, and on an arch that NVRTC does not know.
Compiled compile(const Source& source, const std::string& arch, Headers headers = {});

}  // namespace m40llm::image
