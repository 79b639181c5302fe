#include "engine/device/launch_check.hpp"

#include <cstdint>

#include "engine/device/device.hpp"
#include "kernels/chip.hpp"

namespace m40llm {

std::string describe_launch(std::string_view kernel, const LaunchConfig& config) {
  return "kernel '" + std::string(kernel) + "' (grid " + std::to_string(config.grid.x) + "x" +
         std::to_string(config.grid.y) + ", block " + std::to_string(config.block) + ", " +
         std::to_string(config.shared_bytes) + " bytes of shared memory)";
}

void refuse_launch(std::string_view kernel, const LaunchConfig& config, const std::string& why) {
  throw LaunchRefused(describe_launch(kernel, config) + ": " + why);
}

void check_launch(std::string_view kernel, const LaunchConfig& config, int static_shared_bytes) {
  constexpr auto kThreads = static_cast<unsigned>(kGm200.threads_per_block);
  constexpr auto kShared = static_cast<unsigned>(kGm200.shared_bytes_per_block);
  if (config.block == 0 || config.block % 32 != 0 || config.block > kThreads) {
    refuse_launch(kernel, config, "a block is a multiple of 32 threads, at most " + std::to_string(kThreads));
  }
  if (config.grid.x == 0 || config.grid.x > static_cast<unsigned>(kGm200.grid_x) || config.grid.y == 0 ||
      config.grid.y > static_cast<unsigned>(kGm200.grid_y)) {
    refuse_launch(kernel, config,
                  "a grid is 1 to " + std::to_string(kGm200.grid_x) + " by 1 to " +
                      std::to_string(kGm200.grid_y) + " blocks");
  }
  const auto own = static_cast<unsigned>(static_shared_bytes);
  if (own > kShared || config.shared_bytes > kShared - own) {
    refuse_launch(kernel, config,
                  "with " + std::to_string(own) + " bytes of its own that is more than the " +
                      std::to_string(kShared) + " a block has");
  }
}

void check_resident(std::string_view kernel, const LaunchConfig& config, int blocks_per_sm, int n_sms) {
  if (!config.resident) return;
  const std::uint64_t limit = static_cast<std::uint64_t>(blocks_per_sm) * static_cast<std::uint64_t>(n_sms);
  if (std::uint64_t{config.grid.x} * config.grid.y <= limit) return;
  refuse_launch(kernel, config,
                "its blocks wait for each other, and only " + std::to_string(limit) +
                    " are on the device at once (" + std::to_string(blocks_per_sm) + " on each of " +
                    std::to_string(n_sms) + " SMs)");
}

}  // namespace m40llm
