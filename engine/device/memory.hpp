#pragma once
#include <cstdint>
#include <map>
#include <string>

/// How much memory there is, and what something will take of it: asked before it is taken, because the system
/// ends a process that takes too much without a word.
namespace m40llm {

class Device;

/// "17.2 GB", "3.5 MB", "640 bytes"; powers of ten.
std::string in_bytes(std::uint64_t bytes);

/// Bytes by owner ("weights", "kv_cache") that something will hold at the same time.
class MemoryNeed {
 public:
  void add(const std::string& owner, std::uint64_t bytes) { by_owner_[owner] += bytes; }
  void add(const MemoryNeed& other) {
    for (const auto& [owner, bytes] : other.by_owner_) add(owner, bytes);
  }
  const std::map<std::string, std::uint64_t>& by_owner() const { return by_owner_; }
  std::uint64_t total() const;
  /// "17.2 GB: weights 17.0 GB, kv_cache 200.0 MB", the largest first.
  std::string text() const;

 private:
  std::map<std::string, std::uint64_t> by_owner_;
};

/// Empty if the device has what is needed on it and the host what is needed beside it; on the SIMT device both
/// come from the host's memory. Else what is needed and what there is: "17.3 GB are needed: weights 17.0 GB,
/// ...; SIMT device on X has 12.1 GB free".
std::string missing_memory(const Device& device, const MemoryNeed& on_device, const MemoryNeed& on_host);

/// Where the system says how much memory there is; other places in tests.
struct MemoryFiles {
  std::string proc = "/proc";
  std::string cgroups = "/sys/fs/cgroup";
};

/// Bytes of the host's memory that this process may still take: the least of what the system has available,
/// what the limits of its control groups leave (version 1 and 2; the page cache does not count, it gives way),
/// and what `ulimit -v` leaves; of that 15/16, since others take memory too. The largest number where nothing
/// tells.
std::uint64_t free_host_memory(const MemoryFiles& files = {});

}  // namespace m40llm
