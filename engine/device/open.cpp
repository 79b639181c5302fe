#include "engine/device/open.hpp"

#include <algorithm>
#include <charconv>
#include <cstdlib>
#include <optional>
#include <string_view>
#include <vector>

#include "engine/device/cuda/cuda_device.hpp"
#include "engine/device/simt/simt_device.hpp"
#include "engine/error.hpp"

namespace m40llm {
namespace {

constexpr std::string_view kM40Arch = "sm_52";

/// "cuda:3" is 3, "cuda" and "auto" none. Throws UsageError on anything else.
std::optional<int> wanted_ordinal(const std::string& device) {
  constexpr std::string_view kPrefix = "cuda:";
  int ordinal = -1;
  if (device == "auto" || device == "cuda") return std::nullopt;
  const char* const end = device.data() + device.size();
  if (device.starts_with(kPrefix)) {
    const auto [stop, failure] = std::from_chars(device.data() + kPrefix.size(), end, ordinal);
    if (failure == std::errc() && stop == end && ordinal >= 0) return ordinal;
  }
  throw UsageError("unknown device '" + device + "': expected auto, cuda, cuda:N or simt");
}

/// The GPU numbered so, or the first of sm_52, or the first.
cuda::Gpu choose_gpu(const std::vector<cuda::Gpu>& gpus, std::optional<int> ordinal) {
  if (ordinal) {
    const auto found = std::ranges::find(gpus, *ordinal, &cuda::Gpu::ordinal);
    if (found != gpus.end()) return *found;
    throw Error("no device cuda:" + std::to_string(*ordinal) + ": there are " + std::to_string(gpus.size()) +
                " GPUs, from cuda:0 on");
  }
  const auto m40 = std::ranges::find(gpus, kM40Arch, &cuda::Gpu::arch);
  return m40 != gpus.end() ? *m40 : gpus.front();
}

bool sm52_required(const DeviceOptions& options) {
  const char* const variable = std::getenv("M40LLM_REQUIRE_SM52");
  return options.require_sm52 || (variable != nullptr && std::string_view(variable) == "1");
}

std::unique_ptr<Device> open_simt(const DeviceOptions& options, const std::string& why) {
  if (sm52_required(options)) throw Error("a GPU of sm_52 is required" + why);
  if (options.image != "auto")
    throw Error("image '" + options.image + "' needs a GPU, the SIMT device has no images" + why);
  return open_simt_device(options);
}

}  // namespace

void check_device_name(const std::string& device) {
  if (device != "simt") wanted_ordinal(device);
}

std::unique_ptr<Device> open_device(const DeviceOptions& options) {
  if (options.device == "simt") return open_simt(options, ", and --device simt is none");
  const std::optional<int> ordinal = wanted_ordinal(options.device);

  std::vector<cuda::Gpu> gpus;
  try {
    gpus = cuda::list_gpus();
  } catch (const Error& none) {
    if (options.device != "auto") throw;
    return open_simt(options, std::string(": ") + none.what());
  }
  const cuda::Gpu gpu = choose_gpu(gpus, ordinal);
  if (sm52_required(options) && gpu.arch() != kM40Arch) {
    throw Error("a GPU of sm_52 is required, and " + gpu.name + " is " + gpu.arch());
  }
  return std::make_unique<cuda::CudaDevice>(gpu, options.image);
}

std::string describe(const DeviceInfo& info) {
  const bool gpu = info.kind == DeviceKind::cuda;
  const std::string units = std::to_string(info.n_sms) + (gpu ? " SMs" : " threads");
  if (!gpu)
    return "device: " + info.name + " (" + units + "), kernels " + info.image +
           " (no GPU: times are a CPU's)";
  return "device: " + info.name + " (" + info.arch + ", " + units + "), kernels " + info.image;
}

}  // namespace m40llm
