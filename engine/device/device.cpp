#include "engine/device/device.hpp"

#include <algorithm>
#include <cassert>

#include "engine/device/memory.hpp"

namespace m40llm {

void* Device::allocate(std::size_t bytes, const std::string& owner) {
  // An empty buffer has an address of its own like any other.
  void* pointer = allocate_raw(std::max<std::size_t>(bytes, 1), owner);
  const std::lock_guard lock(mutex_);
  holdings_.emplace(pointer, Holding{owner, bytes});
  held_bytes_ += bytes;
  ++counters_.allocations;
  return pointer;
}

void* Device::allocate_sparse(std::size_t bytes, const std::string& owner) {
  void* pointer = allocate_sparse_raw(std::max<std::size_t>(bytes, 1), owner);
  const std::lock_guard lock(mutex_);
  const std::size_t taken = info().kind == DeviceKind::simt ? 0 : bytes;
  holdings_.emplace(pointer, Holding{owner, taken});
  held_bytes_ += taken;
  ++counters_.allocations;
  return pointer;
}

void Device::release(void* pointer) noexcept {
  if (pointer == nullptr) return;
  {
    const std::lock_guard lock(mutex_);
    const auto known = holdings_.find(pointer);
    assert(known != holdings_.end() && "released memory that this device does not hold");
    if (known == holdings_.end()) return;
    held_bytes_ -= known->second.bytes;
    holdings_.erase(known);
  }
  release_raw(pointer);
}

std::map<std::string, std::size_t> Device::holdings() const {
  const std::lock_guard lock(mutex_);
  std::map<std::string, std::size_t> bytes;
  for (const auto& [pointer, holding] : holdings_) bytes[holding.owner] += holding.bytes;
  return bytes;
}

std::size_t Device::held_bytes() const {
  const std::lock_guard lock(mutex_);
  return held_bytes_;
}

OutOfMemory Device::out_of_memory(std::size_t bytes, const std::string& owner) const {
  MemoryNeed held;
  for (const auto& [holder, amount] : holdings()) held.add(holder, amount);
  return OutOfMemory("not enough memory: " + in_bytes(bytes) + " for '" + owner + "' are needed; " +
                     info().name + " has " + in_bytes(free_bytes()) + " free" +
                     (held.total() == 0 ? "" : " and holds " + held.text()));
}

DeviceCounters Device::counters() const {
  const std::lock_guard lock(mutex_);
  return counters_;
}

void Device::count_launch(std::size_t n_kernels) {
  const std::lock_guard lock(mutex_);
  ++counters_.launches;
  counters_.kernels += n_kernels;
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
