#include "bench/provenance.hpp"

#define XXH_INLINE_ALL
#include <xxhash.h>

#include <sys/utsname.h>
#include <unistd.h>

#include <chrono>
#include <cstdlib>
#include <ctime>
#include <filesystem>
#include <fstream>
#include <random>
#include <thread>

#include "bench/build_info.hpp"  // made by bench/build_info.cmake
#include "engine/device/cuda/nvml.hpp"
#include "engine/device/image.hpp"
#include "engine/error.hpp"
#include "engine/printable.hpp"

namespace m40llm::bench {
namespace {

/// The value behind `key` in the first line of a file that starts with it: "model name : X", "NAME=\"X\"".
std::string value_in(const char* path, const std::string& key, char separator) {
  std::ifstream file(path);
  for (std::string line; std::getline(file, line);) {
    if (!line.starts_with(key)) continue;
    const std::size_t begin = line.find_first_not_of(" \t\"", line.find(separator) + 1);
    const std::size_t last = line.find_last_not_of(" \t\"");
    if (begin != std::string::npos && last >= begin) return line.substr(begin, last - begin + 1);
  }
  return "unknown";
}

Json host_json() {
  utsname name{};
  ::uname(&name);
  return {{"cpu", value_in("/proc/cpuinfo", "model name", ':')},
          {"cores", std::max(1U, std::thread::hardware_concurrency())},
          {"os", value_in("/etc/os-release", "PRETTY_NAME", '=')},
          {"kernel", std::string(name.sysname) + " " + name.release}};
}

std::string utc_now() {
  const std::time_t now = std::time(nullptr);
  std::tm utc{};
  ::gmtime_r(&now, &utc);
  char text[32];
  return {text, std::strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%SZ", &utc)};
}

}  // namespace

Commit commit() {
  constexpr std::string_view kDirty = "-dirty";
  const char* set = std::getenv("M40LLM_COMMIT");
  if (set == nullptr || *set == '\0') return {kBuildCommit, kBuildDirty};
  std::string hash = set;
  const bool dirty = hash.ends_with(kDirty);
  if (dirty) hash.resize(hash.size() - kDirty.size());
  // What results/schema.json takes: records of another commit would be refused by all who read them.
  const bool is_hash = hash.size() >= 7 && hash.size() <= 64 &&
                       hash.find_first_not_of("0123456789abcdef") == std::string::npos;
  if (!is_hash && hash != "unknown") {
    throw UsageError("the environment's M40LLM_COMMIT=" + in_quotes(set) +
                     " is no commit: expected 7 to 64 hexadecimal digits (lower case) or unknown, and -dirty "
                     "behind them or not");
  }
  return {hash, dirty};
}

std::string device_kind(const Device* device) {
  if (device == nullptr) return "none";
  return device->info().kind == DeviceKind::cuda ? "cuda" : "simt";
}

Json gpu_state_json(const Device& device) {
  const cuda::GpuState state = cuda::gpu_state(device);
  const char* why = device.info().kind == DeviceKind::cuda ? "NVML does not tell" : "not a GPU";
  const auto figure = [why](const auto& value) {
    return value ? measured(static_cast<double>(*value)) : unavailable(why);
  };
  return {{"sm_clock_mhz", figure(state.sm_clock_mhz)},
          {"memory_clock_mhz", figure(state.memory_clock_mhz)},
          {"temperature_c", figure(state.temperature_c)},
          {"power_w", figure(state.power_w)}};
}

Json device_json(const Device& device) {
  const DeviceInfo& info = device.info();
  const bool gpu = info.kind == DeviceKind::cuda;
  return {{"kind", device_kind(&device)},
          {"name", info.name},
          {"ordinal", gpu ? Json(info.ordinal) : Json(nullptr)},
          {"pci_id", gpu ? Json(info.pci_id) : Json(nullptr)},
          {"arch", info.arch},
          {"image", info.image},
          {"driver", info.driver},
          {"n_sms", info.n_sms},
          {"memory_bytes", info.memory_bytes},
          {"l2_bytes", info.l2_bytes},
          {"bandwidth_bytes_per_s", info.bandwidth_bytes_per_s > 0
                                        ? modelled(info.bandwidth_bytes_per_s, "memory clock times bus width")
                                        : unavailable(gpu ? "the driver does not tell" : "not a GPU")},
          {"ecc", info.ecc},
          {"why_no_gpu", info.why_no_gpu.empty() ? Json(nullptr) : Json(info.why_no_gpu)},
          {"gpu_state", gpu_state_json(device)}};
}

Json image_json(const Device& device, std::string_view kernel) {
  const Image* image = find_image(device.info().image, kernel);
  return {{"arch", device.info().image}, {"hash", image != nullptr ? Json(hex(image->hash)) : Json(nullptr)}};
}

Json launch_json(const LaunchConfig& launch) {
  return {{"grid", {launch.grid.x, launch.grid.y}},
          {"block", launch.block},
          {"shared_bytes", launch.shared_bytes},
          {"resident", launch.resident}};
}

std::uint64_t source_hash(std::span<const Launch> launches) {
  std::vector<std::uint64_t> codes;
  for (const Launch& launch : launches) {
    if (!launch.library_call) codes.push_back(code_hash(launch.kernel.name));
  }
  return XXH3_64bits(codes.data(), codes.size() * sizeof(std::uint64_t));
}

void add_launches(Json& record, std::string_view kernel, const std::vector<Launch>& launches) {
  Json all = Json::array();
  record["launch"] = nullptr;
  for (const Launch& launch : launches) {
    const Json config = launch.library_call ? Json(nullptr) : launch_json(launch.config);
    if (launch.kernel.name == kernel) record["launch"] = config;
    all.push_back({{"kernel", launch.kernel.name}, {"launch", config}});
  }
  if (launches.size() > 1) record["launches"] = std::move(all);
}

Json header(std::span<const std::string> command, const Device* device) {
  std::random_device random;
  std::vector<std::string> words(command.begin(), command.end());
  if (!words.empty()) words.front() = std::filesystem::path(words.front()).filename().string();
  const Commit built = commit();
  return {{"kind", "header"},
          {"schema_version", kSchemaVersion},
          {"device_kind", device_kind(device)},
          {"run", hex((static_cast<std::uint64_t>(random()) << 32) | random())},
          {"time", utc_now()},
          {"command", words},
          {"commit", {{"hash", built.hash}, {"dirty", built.dirty}}},
          {"preset", kBuildPreset},
          {"compiler", {{"name", kBuildCompiler}, {"flags", kBuildFlags}}},
          {"images", {{"toolkit", images_toolkit()}}},
          {"host", host_json()},
          {"device", device != nullptr ? device_json(*device) : Json(nullptr)}};
}

Json end(const End& end, const Device* device) {
  return {{"kind", "end"},
          {"device_kind", device_kind(device)},
          {"records", end.records},
          {"passed", end.passed},
          {"failed", end.failed},
          {"skipped", end.skipped},
          {"skipped_why", end.skipped_why},
          {"interrupted", end.interrupted},
          {"exit_code", end.exit_code},
          {"elapsed_s", measured(end.elapsed_s)},
          {"against", end.against}};
}

}  // namespace m40llm::bench
