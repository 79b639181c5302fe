#include "engine/device/memory.hpp"

#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <limits>
#include <optional>
#include <sstream>
#include <string_view>
#include <vector>

#include "engine/device/device.hpp"

namespace m40llm {
namespace {

constexpr std::uint64_t kNotKnown = std::numeric_limits<std::uint64_t>::max();

/// The number a text starts with, after blanks; none: "max", or no such file.
std::optional<std::uint64_t> number(std::string_view text) {
  text.remove_prefix(std::min(text.find_first_not_of(" \t"), text.size()));
  std::uint64_t value = 0;
  const auto [end, failure] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (failure != std::errc()) return std::nullopt;
  return value;
}

std::optional<std::uint64_t> number_in(const std::filesystem::path& path) {
  std::ifstream file(path);
  std::string line;
  std::getline(file, line);
  return number(line);
}

/// The number behind a word in a file of lines "word number".
std::optional<std::uint64_t> number_behind(const std::filesystem::path& path, std::string_view word) {
  std::ifstream file(path);
  for (std::string line; std::getline(file, line);) {
    if (line.starts_with(word) && line.size() > word.size() && line[word.size()] == ' ')
      return number(std::string_view(line).substr(word.size()));
  }
  return std::nullopt;
}

/// The files of a version of control groups.
struct CgroupFiles {
  const char* limit;
  const char* used;
  std::array<const char*, 2> page_cache;  ///< words of memory.stat
};
constexpr CgroupFiles kVersion1{
    "memory.limit_in_bytes", "memory.usage_in_bytes", {"total_inactive_file", "total_active_file"}};
constexpr CgroupFiles kVersion2{"memory.max", "memory.current", {"inactive_file", "active_file"}};

/// What the limit of one group leaves.
std::uint64_t left_in(const std::filesystem::path& group, const CgroupFiles& files) {
  const std::optional<std::uint64_t> limit = number_in(group / files.limit);
  const std::optional<std::uint64_t> used = number_in(group / files.used);
  if (!limit || !used) return kNotKnown;
  std::uint64_t page_cache = 0;
  for (const char* word : files.page_cache)
    page_cache += number_behind(group / "memory.stat", word).value_or(0);
  const std::uint64_t held = *used - std::min(*used, page_cache);
  return *limit - std::min(*limit, held);
}

/// What the limits of a group and of all above it leave. Inside a container the group's own path may not be
/// there: then the root is the container's group.
std::uint64_t left_along(const std::filesystem::path& root, std::string_view group,
                         const CgroupFiles& files) {
  std::filesystem::path below = std::filesystem::path(group).relative_path();
  std::uint64_t left = left_in(root, files);
  for (; !below.empty(); below = below.parent_path()) left = std::min(left, left_in(root / below, files));
  return left;
}

/// From /proc/self/cgroup: lines "hierarchy:controllers:path", without controllers for version 2.
std::uint64_t left_in_cgroups(const MemoryFiles& files) {
  const std::filesystem::path root = files.cgroups;
  std::uint64_t left = kNotKnown;
  std::ifstream file(files.proc + "/self/cgroup");
  for (std::string line; std::getline(file, line);) {
    const std::size_t first = line.find(':');
    const std::size_t second = first == std::string::npos ? first : line.find(':', first + 1);
    if (second == std::string::npos) continue;
    const std::string controllers = "," + line.substr(first + 1, second - first - 1) + ",";
    const std::string group = line.substr(second + 1);
    if (controllers == ",,") left = std::min(left, left_along(root, group, kVersion2));
    if (controllers.find(",memory,") != std::string::npos)
      left = std::min(left, left_along(root / "memory", group, kVersion1));
  }
  return left;
}

std::uint64_t left_of_address_space(const MemoryFiles& files) {
  rlimit limit{};
  const std::optional<std::uint64_t> pages = number_in(files.proc + "/self/statm");
  if (getrlimit(RLIMIT_AS, &limit) != 0 || limit.rlim_cur == RLIM_INFINITY || !pages) return kNotKnown;
  const std::uint64_t used = *pages * static_cast<std::uint64_t>(sysconf(_SC_PAGESIZE));
  return limit.rlim_cur - std::min<std::uint64_t>(limit.rlim_cur, used);
}

}  // namespace

std::string in_bytes(std::uint64_t bytes) {
  constexpr std::array kUnits{"kB", "MB", "GB", "TB", "PB", "EB"};
  if (bytes < 1000) return std::to_string(bytes) + " bytes";
  double value = static_cast<double>(bytes) / 1000;
  std::size_t unit = 0;
  for (; value >= 999.95 && unit + 1 < kUnits.size(); ++unit) value /= 1000;
  std::array<char, 32> text{};
  std::snprintf(text.data(), text.size(), "%.1f %s", value, kUnits[unit]);
  return text.data();
}

std::uint64_t MemoryNeed::total() const {
  std::uint64_t sum = 0;
  for (const auto& [owner, bytes] : by_owner_) sum += bytes;
  return sum;
}

std::string MemoryNeed::text() const {
  std::vector<std::pair<std::uint64_t, std::string>> owners;
  for (const auto& [owner, bytes] : by_owner_) owners.emplace_back(bytes, owner);
  std::ranges::stable_sort(owners, std::ranges::greater(), &std::pair<std::uint64_t, std::string>::first);
  std::string text = in_bytes(total());
  for (std::size_t i = 0; i < owners.size(); ++i)
    text += (i == 0 ? ": " : ", ") + owners[i].second + " " + in_bytes(owners[i].first);
  return text;
}

std::string missing_memory(const Device& device, const MemoryNeed& on_device, const MemoryNeed& on_host) {
  const auto missing = [](const MemoryNeed& need, std::uint64_t free, const std::string& where) {
    if (need.total() <= free) return std::string();
    return need.text() + " are needed; " + where + " has " + in_bytes(free) + " free";
  };
  MemoryNeed needed = on_device;
  if (device.info().kind == DeviceKind::simt) {
    needed.add(on_host);
    return missing(needed, device.free_bytes(), device.info().name);
  }
  const std::string text = missing(needed, device.free_bytes(), device.info().name);
  return text.empty() ? missing(on_host, free_host_memory(), "the host") : text;
}

std::uint64_t free_host_memory(const MemoryFiles& files) {
  std::uint64_t free = std::min(left_in_cgroups(files), left_of_address_space(files));
  if (const auto available = number_behind(files.proc + "/meminfo", "MemAvailable:"))
    free = std::min(free, *available * 1024);
  return free == kNotKnown ? free : free - free / 16;
}

}  // namespace m40llm
