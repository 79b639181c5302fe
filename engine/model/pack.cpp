#include "engine/model/pack.hpp"

#include <cstring>
#include <limits>

#include "engine/error.hpp"

namespace m40llm {
namespace {

constexpr std::size_t kStrideUnit = 32;

half load_half(const std::byte* from) {
  half value;
  std::memcpy(&value, from, sizeof(half));
  return value;
}

/// Rows of plain values, each padded with zeros to the stride.
void pack_plain(std::size_t value_bytes, std::size_t cols, std::span<const std::byte> blocks,
                PackedMatrix& packed) {
  const std::size_t row_bytes = cols * value_bytes;
  const std::size_t stride_bytes = static_cast<std::size_t>(packed.stride) * value_bytes;
  packed.values.resize(static_cast<std::size_t>(packed.rows) * stride_bytes);
  for (std::size_t row = 0; row < static_cast<std::size_t>(packed.rows); ++row) {
    std::memcpy(packed.values.data() + row * stride_bytes, blocks.data() + row * row_bytes, row_bytes);
  }
}

/// Blocks of n_scales halves followed by value_bytes bytes: values and scales each go to an array of their
/// own.
void pack_blocks(std::size_t n_scales, std::size_t value_bytes, std::span<const std::byte> blocks,
                 PackedMatrix& packed) {
  const std::size_t block_bytes = n_scales * sizeof(half) + value_bytes;
  const std::size_t n_blocks = blocks.size() / block_bytes;
  packed.values.resize(n_blocks * value_bytes);
  packed.scales.reserve(n_blocks * n_scales);
  for (std::size_t block = 0; block < n_blocks; ++block) {
    const std::byte* from = blocks.data() + block * block_bytes;
    for (std::size_t i = 0; i < n_scales; ++i) packed.scales.push_back(load_half(from + i * sizeof(half)));
    std::memcpy(packed.values.data() + block * value_bytes, from + n_scales * sizeof(half), value_bytes);
  }
}

}  // namespace

PackedMatrix pack(gguf::TensorType type, std::size_t rows, std::size_t cols,
                  std::span<const std::byte> blocks) {
  using gguf::TensorType;
  const std::string what = std::string(gguf::name(type)) + " matrix of " + std::to_string(rows) + " x " +
                           std::to_string(cols) + ": ";
  if (type != TensorType::f32 && type != TensorType::f16 && type != TensorType::q8_0 &&
      type != TensorType::q4_1) {
    throw Error(what + "no kernel reads this type; F32, F16, Q8_0 and Q4_1 are read");
  }
  constexpr std::size_t limit = std::numeric_limits<int>::max() - kStrideUnit;
  if (rows < 1 || cols < 1 || rows > limit || cols > limit) {
    throw Error(what + "rows and columns in [1, " + std::to_string(limit) + "] are expected");
  }
  if (cols % gguf::block_elements(type) != 0) {
    throw Error(what + "the columns must be a multiple of " + std::to_string(gguf::block_elements(type)));
  }
  const std::size_t bytes = rows * (cols / gguf::block_elements(type) * gguf::block_bytes(type));
  if (blocks.size() != bytes) {
    throw Error(what + std::to_string(blocks.size()) + " bytes given, " + std::to_string(bytes) +
                " expected");
  }

  PackedMatrix packed;
  packed.rows = static_cast<int>(rows);
  packed.cols = static_cast<int>(cols);
  packed.stride = static_cast<int>((cols + kStrideUnit - 1) / kStrideUnit * kStrideUnit);
  switch (type) {
    case TensorType::f32:
      pack_plain(sizeof(float), cols, blocks, packed);
      break;
    case TensorType::f16:
      pack_plain(sizeof(half), cols, blocks, packed);
      break;
    case TensorType::q8_0:
      pack_blocks(1, 32, blocks, packed);
      break;
    default:
      pack_blocks(2, 16, blocks, packed);
      break;
  }
  return packed;
}

std::uint64_t packed_bytes(gguf::TensorType type, std::uint64_t rows, std::uint64_t cols) {
  const std::uint64_t stride = (cols + kStrideUnit - 1) / kStrideUnit * kStrideUnit;
  return rows * stride / gguf::block_elements(type) * gguf::block_bytes(type);
}

DeviceMatrix::DeviceMatrix(Device& device, Stream& stream, const PackedMatrix& packed,
                           const std::string& owner)
    : values_(device, packed.values.size(), owner),
      rows_(packed.rows),
      cols_(packed.cols),
      stride_(packed.stride) {
  values_.upload(stream, packed.values);
  if (!packed.scales.empty()) {
    scales_ = Buffer<half>(device, packed.scales.size(), owner);
    scales_.upload(stream, packed.scales);
  }
  stream.synchronize();
}

}  // namespace m40llm
