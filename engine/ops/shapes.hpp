#pragma once
#include "engine/device/launch.hpp"

namespace m40llm {

inline constexpr unsigned kWarpSize = 32;

constexpr int div_up(int a, int b) { return (a + b - 1) / b; }
constexpr unsigned udiv_up(int a, int b) { return static_cast<unsigned>(div_up(a, b)); }

/// A thread an element, 256 a block.
constexpr LaunchConfig elementwise(int n) { return {{udiv_up(n, 256)}, 256}; }

/// Of a kernel that waits for earlier ones itself.
constexpr LaunchConfig overlapping(LaunchConfig config) {
  config.overlaps = true;
  return config;
}

/// Roundings of a warp_sum: five levels of pairs.
inline constexpr int kWarpSumChain = 5;

}  // namespace m40llm
