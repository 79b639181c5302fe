#pragma once
#include <cstdint>
#include <memory>
#include <string>

#include "engine/device/device.hpp"

namespace m40llm {

/// In which order the SIMT device runs lanes, warps and blocks that the program leaves unordered.
enum class SimtOrder { ascending, descending, random };

/// Which device, as the flags --device, --image, --require-sm52, --seed, --order and --workers say it.
struct DeviceOptions {
  std::string device = "auto";  ///< "auto", "cuda", "cuda:N", "simt"
  std::string image =
      "auto";  ///< "auto" (the cubin of the GPU's arch, else PTX), or one: "sm_52", "compute_52", "sm_90"
  /// Refuse anything but a GPU of sm_52; the environment's M40LLM_REQUIRE_SM52 says so too (1, true, yes, on).
  bool require_sm52 = false;
  std::uint64_t simt_seed = 0;  ///< of SimtOrder::random
  SimtOrder simt_order = SimtOrder::ascending;
  unsigned simt_workers = 0;     ///< 0: one a core
  std::size_t memory_bytes = 0;  ///< that the SIMT device may hold; 0: what the host has
};

/// Throws UsageError unless `device` is a name that --device takes: "auto", "cuda", "cuda:N", "simt". Opens
/// nothing.
void check_device_name(const std::string& device);

/// Opens the device asked for; "auto" takes the first GPU of sm_52, else the first GPU, else the SIMT device.
/// Throws Error when there is no such device, when the image does not run on it, or when --require-sm52 is
/// not met; UsageError on an unknown name, on an M40LLM_REQUIRE_SM52 that is neither yes nor no, and on flags of
/// the SIMT device that would change nothing: on a GPU, and a seed without random order.
std::unique_ptr<Device> open_device(const DeviceOptions& options);

/// One line on a device: "device: NVIDIA H200 (sm_90, 132 SMs), kernels compute_52" or "device: SIMT ... (no
/// GPU: why; times are a CPU's)".
std::string describe(const DeviceInfo& info);

}  // namespace m40llm
