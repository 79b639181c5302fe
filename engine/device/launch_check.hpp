#pragma once
#include <string>
#include <string_view>

#include "engine/device/launch.hpp"

/// What every device is held to: a launch that an M40's blocks and grids do not allow runs nowhere, though newer
/// GPUs could do it and a CPU can do anything.
namespace m40llm {

/// Throws LaunchRefused: "kernel 'x' (grid 1x1, block 32, 0 bytes of shared memory): why".
[[noreturn]] void refuse_launch(std::string_view kernel, const LaunchConfig& config, const std::string& why);
/// "kernel 'x' (grid 1x1, block 32, 0 bytes of shared memory)".
std::string describe_launch(std::string_view kernel, const LaunchConfig& config);

/// Refuses blocks, grids and shared memory beyond sm_52's. static_shared_bytes: the kernel's own, a block.
void check_launch(std::string_view kernel, const LaunchConfig& config, int static_shared_bytes);
/// Refuses a resident grid of more than blocks_per_sm * n_sms blocks.
void check_resident(std::string_view kernel, const LaunchConfig& config, int blocks_per_sm, int n_sms);

}  // namespace m40llm
