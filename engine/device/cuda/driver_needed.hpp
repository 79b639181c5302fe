#pragma once
#include <string>
#include <string_view>

/// Which drivers run what NVRTC 12.9 makes of the kernels.
namespace m40llm::cuda {

struct DriverNeeded {
  const char* what;
  int cuda;    ///< that the driver must support, as cuDriverGetVersion gives it: 12090 is 12.9
  int branch;  ///< the first driver branch that does, on Linux
};

// NVIDIA, CUDA Compatibility, "Minor Version Compatibility" (machine code runs on every driver of its toolkit's
// major version); CUDA 12.9 Release Notes, "CUDA Toolkit and Corresponding Driver Versions" (PTX needs its own).
inline constexpr DriverNeeded kMachineCodeNeeds{"machine code of CUDA 12.9", 12000, 525};
inline constexpr DriverNeeded kPtxNeeds{"PTX of CUDA 12.9", 12090, 575};
// CUDA 13.0 Release Notes: drivers after this branch know no Maxwell.
inline constexpr int kLastBranchForMaxwell = 580;

/// "12.9" of 12090.
std::string cuda_version(int version);

/// The driver as found, and what is needed: "driver found: CUDA 12.4 (550.54.14); needed: 525 or later for machine
/// code of CUDA 12.9, 575 or later for PTX of CUDA 12.9; 580 is the last for Maxwell (sm_52)". `found`: empty
/// if not known.
std::string drivers_needed(const std::string& found);

/// Empty if a driver of this CUDA version (0: not known) can load images of `arch`; else what it needs.
std::string driver_too_old(std::string_view arch, int version);

}  // namespace m40llm::cuda
