#pragma once
#include <cstddef>
#include <functional>
#include <map>
#include <mutex>

namespace m40llm {

/// The pinned host memory of a device: only copies from and to it are asynchronous to the host.
class PinnedRanges {
 public:
  void add(const void* memory, std::size_t bytes) {
    const std::lock_guard lock(mutex_);
    ranges_.emplace(static_cast<const std::byte*>(memory), bytes);
  }
  void remove(const void* memory) {
    const std::lock_guard lock(mutex_);
    ranges_.erase(static_cast<const std::byte*>(memory));
  }
  /// Whether all of [memory, memory + bytes) lies in one of them.
  bool hold(const void* memory, std::size_t bytes) const {
    const auto* const low = static_cast<const std::byte*>(memory);
    const std::lock_guard lock(mutex_);
    const auto next = ranges_.upper_bound(low);
    if (next == ranges_.begin()) return false;
    const auto& [start, size] = *std::prev(next);
    const auto offset = static_cast<std::size_t>(low - start);
    return offset <= size && bytes <= size - offset;
  }

 private:
  mutable std::mutex mutex_;
  std::map<const std::byte*, std::size_t, std::less<>> ranges_;
};

}  // namespace m40llm
