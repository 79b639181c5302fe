#pragma once
#include <span>
#include <string>

#include "engine/device/device.hpp"
#include "engine/device/open.hpp"

/// What a ring owes its host, on a SIMT device: held against a model that takes its steps by a graph.
namespace m40llm::testing {

struct RingCheck {
  const char* name;
  /// Throws std::exception with what is wrong.
  void (*run)(const DeviceOptions& options);
};
std::span<const RingCheck> ring_checks();

/// "check: what is wrong" of the first that fails; empty: none does.
std::string first_wrong_ring();

}  // namespace m40llm::testing
