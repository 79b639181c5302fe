#include "engine/device/open.hpp"

#include <algorithm>
#include <cctype>
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

/// Flags that a GPU would leave out of account in silence.
void refuse_simt_flags(const DeviceOptions& options, const cuda::Gpu& gpu) {
  const auto refuse = [&gpu](const char* flag) {
    throw UsageError(std::string(flag) + " is of the SIMT device, and " + gpu.name +
                     " is a GPU: expected with --device simt alone");
  };
  if (options.simt_order != SimtOrder::ascending) refuse("--order");
  if (options.simt_seed != 0) refuse("--seed");
  if (options.simt_workers != 0) refuse("--workers");
}

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

/// What an environment variable of ours that is a yes or a no says; unset or empty: no. Throws UsageError on
/// what is neither.
bool says_yes(const char* name) {
  const char* const variable = std::getenv(name);
  if (variable == nullptr) return false;
  std::string value = variable;
  std::ranges::transform(value, value.begin(), [](unsigned char c) { return std::tolower(c); });
  for (const char* yes : {"1", "true", "yes", "on"}) {
    if (value == yes) return true;
  }
  for (const char* no : {"", "0", "false", "no", "off"}) {
    if (value == no) return false;
  }
  throw UsageError("the environment's " + std::string(name) + "='" + variable +
                   "' is neither yes nor no: expected 1, true, yes, on, 0, false, no, off or nothing");
}

std::unique_ptr<Device> open_simt(const DeviceOptions& options, bool require_sm52, const std::string& why,
                                  const std::string& why_no_gpu) {
  if (options.simt_seed != 0 && options.simt_order != SimtOrder::random) {
    throw UsageError("--seed " + std::to_string(options.simt_seed) +
                     " is of --order random: expected with it alone, as the other orders need none");
  }
  if (require_sm52) throw Error("a GPU of sm_52 is required" + why);
  if (options.image != "auto")
    throw Error("image '" + options.image + "' needs a GPU, the SIMT device has no images" + why);
  return open_simt_device(options, why_no_gpu);
}

}  // namespace

void check_device_name(const std::string& device) {
  if (device != "simt") wanted_ordinal(device);
}

std::unique_ptr<Device> open_device(const DeviceOptions& options) {
  const bool require_sm52 = says_yes("M40LLM_REQUIRE_SM52") || options.require_sm52;
  if (options.device == "simt") return open_simt(options, require_sm52, ", and --device simt is none", "");
  const std::optional<int> ordinal = wanted_ordinal(options.device);

  std::vector<cuda::Gpu> gpus;
  try {
    gpus = cuda::list_gpus();
  } catch (const cuda::NoDevice& none) {
    if (options.device != "auto") throw;
    return open_simt(options, require_sm52, std::string(": ") + none.what(), none.why());
  }
  const cuda::Gpu gpu = choose_gpu(gpus, ordinal);
  refuse_simt_flags(options, gpu);
  if (require_sm52 && gpu.arch() != kM40Arch) {
    throw Error("a GPU of sm_52 is required, and " + gpu.name + " is " + gpu.arch());
  }
  return std::make_unique<cuda::CudaDevice>(gpu, options.image);
}

std::string describe(const DeviceInfo& info) {
  const bool gpu = info.kind == DeviceKind::cuda;
  const std::string units = std::to_string(info.n_sms) + (gpu ? " SMs" : " threads");
  if (!gpu)
    return "device: " + info.name + " (" + units + "), kernels " + info.image +
           " (no GPU: " + (info.why_no_gpu.empty() ? "" : info.why_no_gpu + "; ") + "times are a CPU's)";
  return "device: " + info.name + " (" + info.arch + ", " + units + "), kernels " + info.image;
}

}  // namespace m40llm
