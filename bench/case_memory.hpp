#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "engine/device/memory.hpp"
#include "engine/model/pack.hpp"

/// What a case takes of memory, from its shape alone: asked before anything is made.
namespace m40llm::bench {

/// Elements behind each output that no kernel may touch.
inline constexpr std::size_t kGuard = 64;

/// A tensor of a case: its bytes on the device, and on the host at most, while it is made and judged.
struct TensorMemory {
  std::string name;
  std::uint64_t on_device = 0;
  std::uint64_t on_host = 0;
};

/// What Holder::input takes of n elements.
template <class T>
TensorMemory input_memory(const char* name, std::uint64_t n) {
  return {name, n * sizeof(T), n * sizeof(T)};
}
/// What Holder::input takes of a matrix: on the host, as in a file and packed.
inline TensorMemory input_memory(const char* name, gguf::TensorType type, std::uint64_t rows,
                                 std::uint64_t cols) {
  const std::uint64_t packed = packed_bytes(type, rows, cols);
  return {name, packed, 2 * packed};
}
/// What Holder's outputs take of a buffer of `size` elements of which n are the output. On the host a buffer
/// stands as it was before and after a launch; each output has its place, a value, and what is wanted of it
/// and its bound, in vectors that may have room for twice as many.
template <class T>
TensorMemory output_memory(const char* name, std::uint64_t n, std::uint64_t size) {
  const std::uint64_t buffer = (size + kGuard) * sizeof(T);
  return {name, buffer, 2 * buffer + n * (sizeof(T) + sizeof(std::size_t) + 2 * 2 * sizeof(double))};
}
template <class T>
TensorMemory output_memory(const char* name, std::uint64_t n) {
  return output_memory<T>(name, n, n);
}
/// What a suite's reference takes beside the tensors: n doubles.
inline TensorMemory reference_memory(std::uint64_t n) { return {"reference", 0, n * sizeof(double)}; }

}  // namespace m40llm::bench
