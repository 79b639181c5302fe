#pragma once
#include <array>
#include <cstdint>
#include <string_view>

namespace m40llm {

/// How a decode step is put on a device. The bits are the same.
enum class Way : std::uint8_t {
  separate,  ///< each op by a kernel and a call of its own, nothing fused
  launches,  ///< fused ops, each kernel by a call of its own
  graph,     ///< all of those by one call
};
inline constexpr std::array kWays = {Way::separate, Way::launches, Way::graph};

/// As flags and records have it.
constexpr std::string_view name_of(Way way) {
  switch (way) {
    case Way::separate:
      return "separate";
    case Way::launches:
      return "launches";
    case Way::graph:
      return "graph";
  }
  return {};  // no Way has another value
}

}  // namespace m40llm
