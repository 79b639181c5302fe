#pragma once
#include <string_view>

#include "engine/device/image.hpp"
#include "engine/device/launch.hpp"
#include "kernels/chip.hpp"

namespace m40llm {

/// What holds back the number of resident blocks. `grid`: nothing in the SM does, the launch has too few
/// blocks to fill it. `invalid`: not even one block fits.
enum class Limiter { registers, shared, warps, blocks, grid, invalid };
std::string_view to_string(Limiter limiter);

/// Theoretical occupancy of one launch: modelled from the machine code's needs, never measured.
struct Occupancy {
  int blocks_per_sm = 0;  ///< that fit; the grid may be smaller
  int warps_per_sm = 0;   ///< of the blocks that fit
  double occupancy = 0;   ///< warps_per_sm over the chip's
  Limiter limiter = Limiter::invalid;
  Limiter sm_limiter = Limiter::invalid;  ///< what would limit a launch of blocks enough: never `grid`
  long long waves = 0;       ///< rounds of n_sms * blocks_per_sm blocks, the last one counted whole
  double tail_fraction = 0;  ///< share of block slots that stay empty in the last wave; 0: it is full
  double filled = 0;         ///< warps on the chip in a launch's fullest wave over all it can hold
};

/// By NVIDIA's occupancy rules: registers to whole warps by sub-partition, shared memory in granules, then
/// warps and blocks. A tie goes to the chip's own ceiling (warps, then blocks), which no change to the kernel
/// would lift.
Occupancy occupancy(const ChipLimits& chip, const KernelResources& kernel, const LaunchConfig& launch);

}  // namespace m40llm
