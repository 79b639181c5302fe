#include "engine/device/device.hpp"

#include <algorithm>
#include <cassert>

namespace m40llm {

void* Device::allocate(std::size_t bytes, const std::string& owner) {
  // An empty buffer has an address of its own like any other.
  void* pointer = allocate_raw(std::max<std::size_t>(bytes, 1), owner);
  const std::lock_guard lock(mutex_);
  holdings_.emplace(pointer, Holding{owner, bytes});
  ++counters_.allocations;
  return pointer;
}

void* Device::allocate_sparse(std::size_t bytes, const std::string& owner) {
  void* pointer = allocate_sparse_raw(std::max<std::size_t>(bytes, 1), owner);
  const std::lock_guard lock(mutex_);
  holdings_.emplace(pointer, Holding{owner, info().kind == DeviceKind::simt ? 0 : bytes});
  ++counters_.allocations;
  return pointer;
}

void Device::release(void* pointer) noexcept {
  if (pointer == nullptr) return;
  {
    const std::lock_guard lock(mutex_);
    const std::size_t known = holdings_.erase(pointer);
    assert(known == 1 && "released memory that this device does not hold");
    if (known == 0) return;
  }
  release_raw(pointer);
}

std::map<std::string, std::size_t> Device::holdings() const {
  const std::lock_guard lock(mutex_);
  std::map<std::string, std::size_t> bytes;
  for (const auto& [pointer, holding] : holdings_) bytes[holding.owner] += holding.bytes;
  return bytes;
}

DeviceCounters Device::counters() const {
  const std::lock_guard lock(mutex_);
  return counters_;
}

void Device::count_launch() {
  const std::lock_guard lock(mutex_);
  ++counters_.launches;
}

void Device::count_copy() {
  const std::lock_guard lock(mutex_);
  ++counters_.copies;
}

void Device::count_synchronization() {
  const std::lock_guard lock(mutex_);
  ++counters_.synchronizations;
}

}  // namespace m40llm
