#pragma once
#include <memory>

#include "engine/device/open.hpp"
#include "engine/error.hpp"
#include "kernels/simt/report.hpp"

namespace m40llm {

/// The CPU as a device: the same kernels, every CUDA thread a fiber. Streams are asynchronous and each has
/// its own worker threads. why_no_gpu: as DeviceInfo keeps it.
std::unique_ptr<Device> open_simt_device(const DeviceOptions& options, const std::string& why_no_gpu = "");

/// A fault that the SIMT device found in a kernel; what() is the first report.
class KernelFault : public DeviceFault {
 public:
  explicit KernelFault(std::vector<simt::Report> found)
      : DeviceFault(found.front().str() +
                    (found.size() > 1 ? " (and " + std::to_string(found.size() - 1) + " more)" : "")),
        reports(std::move(found)) {}
  std::vector<simt::Report> reports;
};

/// From now on, on every SIMT device, a launch of kernel `name` calls `function` (of the same parameter
/// struct) instead: for planted faults. A null function undoes it.
void substitute_kernel(const std::string& name, void (*function)());

}  // namespace m40llm
