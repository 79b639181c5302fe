#include "engine/device/occupancy.hpp"

#include <algorithm>
#include <array>
#include <limits>
#include <utility>

namespace m40llm {
namespace {

constexpr int kUnlimited = std::numeric_limits<int>::max();

constexpr int round_up(int value, int granularity) {
  return (value + granularity - 1) / granularity * granularity;
}

int blocks_by_registers(const ChipLimits& chip, int registers, int warps_per_block) {
  if (registers > chip.registers_per_thread) return 0;
  if (registers == 0) return kUnlimited;
  // A warp's registers come from one sub-partition, so what is left over in each is lost.
  const int per_warp = round_up(registers * 32, chip.register_granularity);
  const int warps = chip.registers_per_sm / chip.sub_partitions / per_warp * chip.sub_partitions;
  return warps / warps_per_block;
}

int blocks_by_shared(const ChipLimits& chip, long long bytes) {
  if (bytes == 0) return kUnlimited;
  if (bytes > chip.shared_bytes_per_block) return 0;
  return chip.shared_bytes_per_sm / round_up(static_cast<int>(bytes), chip.shared_granularity_bytes);
}

}  // namespace

std::string_view to_string(Limiter limiter) {
  constexpr std::array<std::string_view, 6> kNames{"registers", "shared", "warps",
                                                   "blocks",    "grid",   "invalid"};
  return kNames[static_cast<std::size_t>(limiter)];
}

Occupancy occupancy(const ChipLimits& chip, const KernelResources& kernel, const LaunchConfig& launch) {
  Occupancy result;
  const auto block = static_cast<int>(std::min(launch.block, 1U << 20));
  if (block == 0 || block > chip.threads_per_block) return result;
  const int warps_per_block = (block + 31) / 32;

  const long long shared = static_cast<long long>(kernel.static_shared_bytes) + launch.shared_bytes;
  const std::array<std::pair<int, Limiter>, 4> limits{{
      {chip.warps_per_sm / warps_per_block, Limiter::warps},
      {chip.blocks_per_sm, Limiter::blocks},
      {blocks_by_registers(chip, kernel.registers, warps_per_block), Limiter::registers},
      {blocks_by_shared(chip, shared), Limiter::shared},
  }};
  const auto tightest = std::min_element(limits.begin(), limits.end(),
                                         [](const auto& a, const auto& b) { return a.first < b.first; });
  result.blocks_per_sm = tightest->first;
  if (result.blocks_per_sm == 0) return result;
  result.warps_per_sm = result.blocks_per_sm * warps_per_block;
  result.occupancy = static_cast<double>(result.warps_per_sm) / chip.warps_per_sm;

  const long long blocks = static_cast<long long>(launch.grid.x) * launch.grid.y;
  const long long wave = static_cast<long long>(chip.n_sms) * result.blocks_per_sm;
  result.sm_limiter = tightest->second;
  result.limiter = blocks < wave ? Limiter::grid : result.sm_limiter;
  result.waves = (blocks + wave - 1) / wave;
  if (result.waves > 0) {
    result.tail_fraction = static_cast<double>(result.waves * wave - blocks) / static_cast<double>(wave);
    result.filled =
        static_cast<double>(std::min(blocks, wave) * warps_per_block) / (chip.n_sms * chip.warps_per_sm);
  }
  return result;
}

}  // namespace m40llm
