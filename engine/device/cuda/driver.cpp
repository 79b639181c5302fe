#include "engine/device/cuda/driver.hpp"

#include <dlfcn.h>

#include <optional>

#include "engine/device/cuda/driver_needed.hpp"
#include "engine/device/cuda/nvml.hpp"

namespace m40llm::cuda {
namespace {

/// "CUDA_ERROR_ILLEGAL_ADDRESS: an illegal memory access was encountered". Looked up in the library itself,
/// which is open whenever a call has failed, because cuInit fails before there is a Driver.
std::string describe_error(const Library& library, Result result) {
  const char* name = nullptr;
  const char* text = nullptr;
  const Call<Result, const char**> error_name(library, "cuGetErrorName");
  const Call<Result, const char**> error_string(library, "cuGetErrorString");
  if (error_name.status(result, &name) != kSuccess || name == nullptr)
    return "error " + std::to_string(result);
  if (error_string.status(result, &text) != kSuccess || text == nullptr) return name;
  return std::string(name) + ": " + text;
}

}  // namespace

DriverFault::DriverFault(const std::string& call, Result result)
    : DeviceFault(call + ": " + describe_error(Library(), result)), result_(result) {}

Library::Library() : handle_(dlopen("libcuda.so.1", RTLD_NOW | RTLD_LOCAL)) {
  if (handle_ == nullptr) throw NoDevice(dlerror());
}

void* Library::symbol(const char* name) const {
  void* const address = dlsym(handle_, name);
  if (address == nullptr) {
    throw NoDevice(std::string("the driver has no ") + name + "; " +
                   drivers_needed(nvml_driver_version().value_or("")));
  }
  return address;
}

bool Library::has(const char* name) const { return dlsym(handle_, name) != nullptr; }

const Driver& Driver::instance() {
  static const Driver driver = [] {
    Driver opened;
    if (const Result result = opened.init.status(0); result != kSuccess) {
      throw NoDevice(DriverFault("cuInit", result).what() + ("; " + drivers_needed("CUDA " + opened.text())));
    }
    return opened;
  }();
  return driver;
}

int Driver::version() const {
  int version = 0;
  return driver_version.status(&version) == kSuccess ? version : 0;
}

std::string Driver::text() const {
  const std::optional<std::string> package = nvml_driver_version();
  return cuda_version(version()) + (package ? " (" + *package + ")" : "");
}

}  // namespace m40llm::cuda
