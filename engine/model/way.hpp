#pragma once
#include <array>
#include <cstdint>
#include <string_view>

namespace m40llm {

/// How decode steps are put on a device. The bits are the same.
enum class Way : std::uint8_t {
  separate,    ///< each op by a kernel and a call of its own, nothing fused
  launches,    ///< fused ops, each kernel by a call of its own
  graph,       ///< all of those by one call
  persistent,  ///< fused ops, all by one kernel
  ring,        ///< likewise, and one launch of it takes all steps: the host takes none itself
};
inline constexpr std::array kWays = {Way::separate, Way::launches, Way::graph, Way::persistent, Way::ring};
/// Those by which the host takes steps one by one.
inline constexpr std::array kStepWays = {Way::separate, Way::launches, Way::graph, Way::persistent};

/// As flags and records have it.
constexpr std::string_view name_of(Way way) {
  switch (way) {
    case Way::separate:
      return "separate";
    case Way::launches:
      return "launches";
    case Way::graph:
      return "graph";
    case Way::persistent:
      return "persistent";
    case Way::ring:
      return "ring";
  }
  return {};  // no Way has another value
}

}  // namespace m40llm
