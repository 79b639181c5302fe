#include "tests/fuzz/allocations.hpp"

#include <malloc.h>

#include <atomic>
#include <cstdlib>
#include <new>

namespace m40llm::testing {
namespace {

std::atomic<std::size_t> held_bytes{0};
std::atomic<std::size_t> peak_bytes{0};

void* counted(void* memory) {
  if (memory == nullptr) throw std::bad_alloc();
  const std::size_t now = held_bytes += ::malloc_usable_size(memory);
  for (std::size_t peak = peak_bytes; now > peak && !peak_bytes.compare_exchange_weak(peak, now);) continue;
  return memory;
}

void release(void* memory) {
  if (memory != nullptr) held_bytes -= ::malloc_usable_size(memory);
  std::free(memory);
}

}  // namespace

std::size_t Allocations::held() { return held_bytes; }
std::size_t Allocations::peak() { return peak_bytes; }
void Allocations::reset_peak() { peak_bytes = held_bytes.load(); }

}  // namespace m40llm::testing

void* operator new(std::size_t bytes) {
  return m40llm::testing::counted(std::malloc(bytes == 0 ? 1 : bytes));
}
void* operator new(std::size_t bytes, std::align_val_t align) {
  const auto alignment = static_cast<std::size_t>(align);
  return m40llm::testing::counted(std::aligned_alloc(alignment, (bytes + alignment) / alignment * alignment));
}
void operator delete(void* memory) noexcept { m40llm::testing::release(memory); }
void operator delete(void* memory, std::size_t) noexcept { m40llm::testing::release(memory); }
void operator delete(void* memory, std::align_val_t) noexcept { m40llm::testing::release(memory); }
void operator delete(void* memory, std::size_t, std::align_val_t) noexcept {
  m40llm::testing::release(memory);
}
