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
  std::vector<half> scales;       ///< empty for formats without scales
  int rows = 0;
  int cols = 0;
  int stride = 0;
  Format format = Format::f32;
};

/// The types of matrices that kernels read.
inline constexpr gguf::TensorType kMatrixTypes[] = {
#define M40LLM_TYPE(format, ...) gguf::tensor_type(Format::format),
    M40LLM_FORMATS(M40LLM_TYPE)
#undef M40LLM_TYPE
};

/// Bytes of a file's matrix that are in host memory at once, and once more repacked; 1 to 16 MiB load alike.
inline constexpr std::size_t kReadOfMatrix = 4u << 20;

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
  /// A file's tensor of two dimensions, read, packed and uploaded some rows at a time: takes a few MiB of host
  /// memory for any matrix. Throws Error as File::read() and pack() do.
  DeviceMatrix(Device& device, Stream& stream, const gguf::File& file, const gguf::Tensor& tensor,
               const std::string& owner);
  /// What kernels take; valid as long as this object.
  Matrix view() const { return {values_.data(), scales_.data(), rows_, cols_, stride_, format_}; }

 private:
  DeviceMatrix(Device& device, const PackedMatrix& part, std::size_t rows, const std::string& owner);
  void upload_rows(Stream& stream, std::size_t first, const PackedMatrix& part);

  Buffer<std::byte> values_;
  Buffer<half> scales_;
  int rows_, cols_, stride_;
  Format format_;
};

}  // namespace m40llm
