#include "engine/device/graph.hpp"

#include <string>

#include "engine/device/device.hpp"

namespace m40llm {

void check_kernels(std::span<const Launch> launches) {
  for (std::size_t i = 0; i < launches.size(); ++i) {
    if (!launches[i].library_call) continue;
    throw LaunchRefused("'" + std::string(launches[i].kernel.name) + "', launch " + std::to_string(i) +
                        " of " + std::to_string(launches.size()) +
                        ", is a library's call; expected a kernel, which is all that a graph is made of");
  }
}

}  // namespace m40llm
