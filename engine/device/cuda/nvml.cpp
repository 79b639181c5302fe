#include "engine/device/cuda/nvml.hpp"

#include <dlfcn.h>

#include <array>

#include "engine/device/cuda/cuda_device.hpp"

namespace m40llm::cuda {
namespace {

// After the NVML API reference: results are 0 on success; clocks in MHz, power in mW, temperature in degrees
// Celsius.
using NvmlDevice = struct NvmlDeviceObject*;
constexpr int kSmClock = 1;
constexpr int kMemoryClock = 2;
constexpr int kGpuSensor = 0;

/// The library, initialised once; calls of it that are missing or fail have no value.
class Nvml {
 public:
  static const Nvml& instance() {
    static const Nvml nvml;
    return nvml;
  }

  template <class... Args>
  bool call(const char* name, Args... args) const {
    if (handle_ == nullptr) return false;
    const auto function = reinterpret_cast<int (*)(Args...)>(dlsym(handle_, name));
    return function != nullptr && function(args...) == 0;
  }

 private:
  Nvml() : handle_(dlopen("libnvidia-ml.so.1", RTLD_NOW | RTLD_LOCAL)) {
    if (!call("nvmlInit_v2")) handle_ = nullptr;
  }
  void* handle_;
};

std::optional<unsigned> clock_mhz(NvmlDevice device, int domain) {
  unsigned mhz = 0;
  if (!Nvml::instance().call("nvmlDeviceGetClockInfo", device, domain, &mhz)) return std::nullopt;
  return mhz;
}

}  // namespace

std::optional<std::string> nvml_driver_version() {
  std::array<char, 96> text{};
  if (!Nvml::instance().call("nvmlSystemGetDriverVersion", text.data(), static_cast<unsigned>(text.size())))
    return std::nullopt;
  return std::string(text.data());
}

GpuState gpu_state(const Device& device) {
  GpuState state;
  const auto* gpu = dynamic_cast<const CudaDevice*>(&device);
  NvmlDevice handle = nullptr;
  const Nvml& nvml = Nvml::instance();
  if (gpu == nullptr || !nvml.call("nvmlDeviceGetHandleByPciBusId_v2", gpu->info().pci_id.c_str(), &handle))
    return state;
  state.sm_clock_mhz = clock_mhz(handle, kSmClock);
  state.memory_clock_mhz = clock_mhz(handle, kMemoryClock);
  unsigned value = 0;
  if (nvml.call("nvmlDeviceGetTemperature", handle, kGpuSensor, &value)) state.temperature_c = value;
  if (nvml.call("nvmlDeviceGetPowerUsage", handle, &value)) state.power_w = 1e-3 * value;
  return state;
}

}  // namespace m40llm::cuda
