#include "engine/model/pack.hpp"

#include <algorithm>
#include <cstring>
#include <limits>
#include <optional>

#include "engine/error.hpp"

namespace m40llm {
namespace {

constexpr std::size_t kStrideUnit = 32;

/// Rows of values alone, each padded with zeros to the stride.
void pack_rows(const FormatTraits& format, std::span<const std::byte> blocks, PackedMatrix& packed) {
  const auto value_bytes = static_cast<std::size_t>(format.value_bytes);
  const std::size_t row_bytes = static_cast<std::size_t>(packed.cols) * value_bytes;
  const std::size_t stride_bytes = static_cast<std::size_t>(packed.stride) * value_bytes;
  packed.values.resize(static_cast<std::size_t>(packed.rows) * stride_bytes);
  for (std::size_t row = 0; row < static_cast<std::size_t>(packed.rows); ++row) {
    std::memcpy(packed.values.data() + row * stride_bytes, blocks.data() + row * row_bytes, row_bytes);
  }
}

/// Blocks of values and, at one place among them, scales: values and scales each go to an array of their own.
void pack_blocks(const FormatTraits& format, std::span<const std::byte> blocks, PackedMatrix& packed) {
  const auto value_bytes = static_cast<std::size_t>(format.value_bytes);
  const auto scale_bytes = static_cast<std::size_t>(format.scale_bytes);
  const auto scales_at = static_cast<std::size_t>(format.scales_at);
  const std::size_t n_blocks = blocks.size() / (value_bytes + scale_bytes);
  packed.values.resize(n_blocks * value_bytes);
  packed.scales.resize(n_blocks * scale_bytes / sizeof(half));
  auto* const scales = reinterpret_cast<std::byte*>(packed.scales.data());
  for (std::size_t block = 0; block < n_blocks; ++block) {
    const std::byte* const from = blocks.data() + block * (value_bytes + scale_bytes);
    std::byte* const values = packed.values.data() + block * value_bytes;
    std::memcpy(values, from, scales_at);
    std::memcpy(scales + block * scale_bytes, from + scales_at, scale_bytes);
    std::memcpy(values + scales_at, from + scales_at + scale_bytes, value_bytes - scales_at);
  }
}

/// The matrix's format. Throws Error naming the matrix if there is no layout for it.
Format expect_packable(const std::string& what, gguf::TensorType type, std::size_t rows, std::size_t cols) {
  const std::optional<Format> format = gguf::format_of(type);
  if (!format) throw Error(what + "no kernel reads this type; expected " + gguf::names(kMatrixTypes));
  constexpr std::size_t limit = std::numeric_limits<int>::max() - kStrideUnit;
  if (rows < 1 || cols < 1 || rows > limit || cols > limit) {
    throw Error(what + "rows and columns in [1, " + std::to_string(limit) + "] are expected");
  }
  if (cols % gguf::block_elements(type) != 0) {
    throw Error(what + "the columns must be a multiple of " + std::to_string(gguf::block_elements(type)));
  }
  return *format;
}

std::string describe(gguf::TensorType type, std::size_t rows, std::size_t cols) {
  return std::string(gguf::name(type)) + " matrix of " + std::to_string(rows) + " x " + std::to_string(cols) +
         ": ";
}

}  // namespace

PackedMatrix pack(gguf::TensorType type, std::size_t rows, std::size_t cols,
                  std::span<const std::byte> blocks) {
  const std::string what = describe(type, rows, cols);
  const Format format = expect_packable(what, type, rows, cols);
  const std::size_t bytes = rows * (cols / gguf::block_elements(type) * gguf::block_bytes(type));
  if (blocks.size() != bytes) {
    throw Error(what + std::to_string(blocks.size()) + " bytes given, " + std::to_string(bytes) +
                " expected");
  }

  PackedMatrix packed;
  packed.rows = static_cast<int>(rows);
  packed.cols = static_cast<int>(cols);
  packed.stride = static_cast<int>((cols + kStrideUnit - 1) / kStrideUnit * kStrideUnit);
  packed.format = format;
  if (traits(format).scale_bytes == 0) {
    pack_rows(traits(format), blocks, packed);
  } else {
    pack_blocks(traits(format), blocks, packed);
  }
  return packed;
}

std::uint64_t packed_bytes(gguf::TensorType type, std::uint64_t rows, std::uint64_t cols) {
  const std::uint64_t stride = (cols + kStrideUnit - 1) / kStrideUnit * kStrideUnit;
  return rows * stride / gguf::block_elements(type) * gguf::block_bytes(type);
}

DeviceMatrix::DeviceMatrix(Device& device, const PackedMatrix& part, std::size_t rows,
                           const std::string& owner)
    : values_(device, part.values.size() / static_cast<std::size_t>(part.rows) * rows, owner),
      rows_(static_cast<int>(rows)),
      cols_(part.cols),
      stride_(part.stride),
      format_(part.format) {
  if (!part.scales.empty()) {
    scales_ = Buffer<half>(device, part.scales.size() / static_cast<std::size_t>(part.rows) * rows, owner);
  }
}

DeviceMatrix::DeviceMatrix(Device& device, Stream& stream, const PackedMatrix& packed,
                           const std::string& owner)
    : DeviceMatrix(device, packed, static_cast<std::size_t>(packed.rows), owner) {
  upload_rows(stream, 0, packed);
}

DeviceMatrix::DeviceMatrix(Device& device, Stream& stream, const gguf::File& file, const gguf::Tensor& tensor,
                           const std::string& owner)
    : rows_(0), cols_(0), stride_(0), format_(Format::f32) {
  const auto rows = static_cast<std::size_t>(tensor.shape.at(1));
  const auto cols = static_cast<std::size_t>(tensor.shape.at(0));
  static_cast<void>(expect_packable(describe(tensor.type, rows, cols), tensor.type, rows, cols));
  const auto row_bytes = static_cast<std::size_t>(tensor.bytes) / rows;
  const std::size_t rows_at_once = std::clamp<std::size_t>(kReadOfMatrix / row_bytes, 1, rows);
  std::vector<std::byte> blocks;
  for (std::size_t first = 0; first < rows; first += rows_at_once) {
    const std::size_t n = std::min(rows_at_once, rows - first);
    blocks.resize(n * row_bytes);
    file.read(tensor, first * row_bytes, blocks);
    const PackedMatrix part = pack(tensor.type, n, cols, blocks);
    if (first == 0) *this = DeviceMatrix(device, part, rows, owner);
    upload_rows(stream, first, part);
  }
}

void DeviceMatrix::upload_rows(Stream& stream, std::size_t first, const PackedMatrix& part) {
  const auto rows = static_cast<std::size_t>(part.rows);
  stream.copy_to_device(values_.data() + part.values.size() / rows * first, part.values.data(),
                        part.values.size());
  if (!part.scales.empty()) {
    stream.copy_to_device(scales_.data() + part.scales.size() / rows * first, part.scales.data(),
                          part.scales.size() * sizeof(half));
  }
  stream.synchronize();
}

}  // namespace m40llm
