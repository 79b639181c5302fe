#pragma once
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "engine/device/buffer.hpp"
#include "engine/gguf/file.hpp"
#include "kernels/matrix.h"

namespace m40llm {

/// A weight matrix in the layout of kernels/matrix.h, still on the host.
struct PackedMatrix {
  std::vector<std::byte> values;  ///< (rows, stride) of the format's values
  std::vector<half> scales;       ///< empty for F32 and F16
  int rows = 0;
  int cols = 0;
  int stride = 0;
};

/// Repacks GGUF blocks, row after row, into that layout: no value changes. blocks must be as long as the type
/// asks for. Throws Error on a type without such a layout, on rows or cols below 1 or too large, on cols that
/// are no multiple of the type's block, and on a length of blocks that does not fit.
PackedMatrix pack(gguf::TensorType type, std::size_t rows, std::size_t cols,
                  std::span<const std::byte> blocks);

/// Bytes of values and scales of such a matrix, of a type that pack() takes.
std::uint64_t packed_bytes(gguf::TensorType type, std::uint64_t rows, std::uint64_t cols);

/// A packed matrix in a device's memory.
class DeviceMatrix {
 public:
  /// Uploads and waits. `owner` as in Device::allocate.
  DeviceMatrix(Device& device, Stream& stream, const PackedMatrix& packed, const std::string& owner);
  /// What kernels take; valid as long as this object.
  Matrix view() const { return {values_.data(), scales_.data(), rows_, cols_, stride_}; }

 private:
  Buffer<std::byte> values_;
  Buffer<half> scales_;
  int rows_, cols_, stride_;
};

}  // namespace m40llm
