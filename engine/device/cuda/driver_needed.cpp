#include "engine/device/cuda/driver_needed.hpp"

namespace m40llm::cuda {

std::string cuda_version(int version) {
  return std::to_string(version / 1000) + "." + std::to_string(version % 1000 / 10);
}

std::string drivers_needed(const std::string& found) {
  std::string text = "driver found: " + (found.empty() ? "of unknown version" : found) + "; needed: ";
  for (const DriverNeeded& needed : {kMachineCodeNeeds, kPtxNeeds})
    text += std::to_string(needed.branch) + " or later for " + needed.what + ", ";
  text.resize(text.size() - 2);
  return text + "; " + std::to_string(kLastBranchForMaxwell) + " is the last for Maxwell (sm_52)";
}

std::string driver_too_old(std::string_view arch, int version) {
  const DriverNeeded& needed = arch.starts_with("compute_") ? kPtxNeeds : kMachineCodeNeeds;
  if (version == 0 || version >= needed.cuda) return "";
  return std::string(needed.what) + " needs a driver of CUDA " + cuda_version(needed.cuda) + " (" +
         std::to_string(needed.branch) + " or later)";
}

}  // namespace m40llm::cuda
