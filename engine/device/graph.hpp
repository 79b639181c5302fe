#pragma once
#include <cstddef>
#include <span>

#include "engine/device/launch.hpp"

namespace m40llm {

/// Kernels that one call puts on a stream, one after the other, as often as one likes: Device::create_graph and
/// Stream::launch.
class Graph {
 public:
  virtual ~Graph() = default;
  virtual std::size_t n_kernels() const = 0;
};

/// Throws LaunchRefused, naming it, when one of the launches is a library's call: what that puts on a stream is
/// not known before.
void check_kernels(std::span<const Launch> launches);

}  // namespace m40llm
