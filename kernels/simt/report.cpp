#include "kernels/simt/report.hpp"

#include <backtrace.h>

#include <cstdint>
#include <mutex>

namespace simt {

const char* name(Fault fault) {
  switch (fault) {
    case Fault::barrier_not_reached:
      return "barrier not reached by all";
    case Fault::shuffle_missing_lane:
      return "shuffle with a missing lane";
    case Fault::endless_spin:
      return "endless spin";
    case Fault::spin_holds_own_warp:
      return "spin that holds its own warp";
    case Fault::resources:
      return "more than sm_52 has";
    case Fault::device_failed:
      return "failure of the SIMT device";
    case Fault::uninitialized_read:
      return "read of never-written memory";
    case Fault::out_of_bounds_read:
      return "read out of bounds";
    case Fault::out_of_bounds_write:
      return "write out of bounds";
    case Fault::misaligned:
      return "misaligned access";
    case Fault::race:
      return "race";
    case Fault::readonly_written:
      return "read-only load of memory written in this launch";
  }
  return "?";
}

std::string Report::str() const {
  std::string block = std::to_string(block_x);
  if (block_y != 0) block = "(" + block + ", " + std::to_string(block_y) + ")";
  return kernel + ", block " + block + ", thread " + std::to_string(thread) + ", " + file + ":" +
         std::to_string(line) + ": " + name(fault) + ": " + text;
}

Place place_of(const void* return_address) {
  static std::mutex mutex;  // libbacktrace fills its state on first use
  static backtrace_state* const state = backtrace_create_state(nullptr, 1, nullptr, nullptr);
  const std::lock_guard lock(mutex);
  Place place{"?", 0};
  // The innermost frame comes first: keep it, and only take a place inside the language's headers if there is
  // no other.
  const auto keep = [](void* data, std::uintptr_t, const char* file, int line, const char*) {
    if (file == nullptr) return 0;
    auto& kept = *static_cast<Place*>(data);
    kept = {file, line};
    const std::string& path = kept.file;
    const bool in_language = path.find("kernels/simt/") != std::string::npos ||
                             path.find("kernels/device.cuh") != std::string::npos;
    return in_language ? 0 : 1;  // 0: go on to the caller that it was inlined into
  };
  // A return address points behind the call.
  backtrace_pcinfo(
      state, reinterpret_cast<std::uintptr_t>(return_address) - 1, keep, [](void*, const char*, int) {},
      &place);
  const std::size_t at = place.file.rfind("/kernels/");
  if (at != std::string::npos) place.file.erase(0, at + 1);
  const std::size_t tests = place.file.rfind("/tests/");
  if (tests != std::string::npos) place.file.erase(0, tests + 1);
  return place;
}

}  // namespace simt
