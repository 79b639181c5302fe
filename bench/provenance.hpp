#pragma once
#include <span>
#include <string>
#include <string_view>

#include "bench/records.hpp"
#include "engine/device/device.hpp"

/// Where a run's figures come from: the code, the machine, the device. It becomes the header of the run's
/// records.
namespace m40llm::bench {

/// The commit that was built: from the environment variable M40LLM_COMMIT ("<hash>" or "<hash>-dirty") where
/// it is set, else as found when the binary was built. `hash` is "unknown" without either.
struct Commit {
  std::string hash;
  bool dirty = false;
};
Commit commit();

/// "cuda", "simt"; "none" without a device.
std::string device_kind(const Device* device);

/// A device as the header keeps it.
Json device_json(const Device& device);

/// Clocks, temperature and power now, each a figure; unavailable, with the reason, where nothing tells. Not
/// between timed launches.
Json gpu_state_json(const Device& device);

/// {"arch", "hash"} of the machine code that runs `kernel` on the device.
Json image_json(const Device& device, std::string_view kernel);

/// How a kernel was launched, as records keep it.
Json launch_json(const LaunchConfig& launch);
/// "source_hash" of records: of the code of all kernels that are launched (code_hash()).
std::uint64_t source_hash(std::span<const Launch> launches);
/// Adds to a record "launch", how `kernel` was launched (null: a library does that), and where a variant is more
/// than one launch, "launches": all of them in order.
void add_launches(Json& record, std::string_view kernel, const std::vector<Launch>& launches);

/// The first record of a run, with a run id of its own. `command` is the command line, its first element the
/// program. `device` is null for programs that need none.
Json header(std::span<const std::string> command, const Device* device);

/// The last record of a run. Whoever does not find it knows that the run was cut short.
struct End {
  std::size_t records = 0;  ///< of the run, header included, this one not
  std::size_t passed = 0;
  std::size_t failed = 0;
  std::size_t skipped = 0;
  std::string skipped_why;  ///< empty if nothing was
  bool interrupted = false;
  int exit_code = 0;
  double elapsed_s = 0;
  Json against;  ///< what --against gave (Evidence::json()); null without it
};
Json end(const End& end, const Device* device);

}  // namespace m40llm::bench
