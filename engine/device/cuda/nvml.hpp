#pragma once
#include <optional>
#include <string>

#include "engine/device/device.hpp"

/// What the GPU's management library (libnvidia-ml.so.1, opened at run time) knows beside the driver: it may
/// be missing, and any value too.
namespace m40llm::cuda {

/// A GPU at one moment.
struct GpuState {
  std::optional<unsigned> sm_clock_mhz;
  std::optional<unsigned> memory_clock_mhz;
  std::optional<unsigned> temperature_c;
  std::optional<double> power_w;
};

/// "580.159.04", or nothing without NVML.
std::optional<std::string> nvml_driver_version();

/// The state of the GPU behind a device now; empty for the SIMT device and without NVML. Takes up to some
/// milliseconds: not between timed launches.
GpuState gpu_state(const Device& device);

}  // namespace m40llm::cuda
