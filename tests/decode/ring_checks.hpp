#pragma once
#include <span>
#include <string>

#include "engine/device/device.hpp"
#include "engine/device/open.hpp"

/// What a ring owes its host, held against a model that takes its steps by a graph.
namespace m40llm::testing {

struct RingCheck {
  const char* name;
  /// On the device named. Throws std::exception with what is wrong.
  void (*run)(const DeviceOptions& options);
};
std::span<const RingCheck> ring_checks();

/// "check: what is wrong" of the first that fails on a SIMT device; empty: none does.
std::string first_wrong_ring();

}  // namespace m40llm::testing
