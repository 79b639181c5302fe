#pragma once
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

/// Read-only access to GGUF files, versions 2 and 3, little-endian. Format: docs/gguf.md of the ggml project.
namespace m40llm::gguf {

/// How a tensor's elements are stored. The numbers are the file's.
enum class TensorType : std::uint32_t {
  f32 = 0,
  f16 = 1,
  q4_0 = 2,
  q4_1 = 3,
  q5_0 = 6,
  q5_1 = 7,
  q8_0 = 8,
  q4_k = 12,
  q5_k = 13,
  q6_k = 14,
  bf16 = 30,
};

/// "F32", "Q4_1", ... The type must be one of the enumerators.
[[nodiscard]] std::string_view name(TensorType type);
/// Elements that are stored together: 1, 32 or 256.
[[nodiscard]] std::uint64_t block_elements(TensorType type);
/// Bytes of one such block, scales included.
[[nodiscard]] std::uint64_t block_bytes(TensorType type);

struct Tensor {
  std::string name;
  TensorType type;
  /// 1 to 4 extents, none of them 0; shape[0] is contiguous (the columns of a weight matrix), as in the file.
  std::vector<std::uint64_t> shape;
  /// Inside the file's mapping, elements() / block_elements(type) * block_bytes(type) bytes, aligned to at
  /// least 8.
  std::span<const std::byte> data;

  /// Product of the extents.
  [[nodiscard]] std::uint64_t elements() const;
};

/// Types of metadata values. The numbers are the file's.
enum class ValueType : std::uint32_t {
  u8 = 0,
  i8 = 1,
  u16 = 2,
  i16 = 3,
  u32 = 4,
  i32 = 5,
  f32 = 6,
  boolean = 7,
  string = 8,
  array = 9,
  u64 = 10,
  i64 = 11,
  f64 = 12,
};

/// A metadata value as it lies in the file, already checked.
struct Value {
  ValueType type;
  /// Of an array: the type of its elements, never array itself. Otherwise the same as type.
  ValueType element_type;
  /// Of an array: its number of elements. Otherwise 1.
  std::uint64_t count;
  /// The elements, packed and unaligned; strings each with a length of 8 bytes before them.
  std::span<const std::byte> payload;
};

/// A GGUF file, mapped into memory. Everything that the file states (offsets, lengths, counts, types,
/// alignment) has been checked against its size when open() returns, so nothing read through this class
/// leaves the mapping. Views and spans that it returns live as long as the File; moving it does not
/// invalidate them. The file must not be shortened by others while it is open (the system then ends the
/// process on access).
class File {
 public:
  /// Throws Error naming the file and what is wrong with it: not there, a directory, empty, truncated, not
  /// GGUF, big-endian, an unsupported version, or any inconsistent entry.
  [[nodiscard]] static File open(const std::filesystem::path& path);

  File(File&&) noexcept = default;
  File& operator=(File&&) noexcept = default;
  File(const File&) = delete;
  File& operator=(const File&) = delete;
  ~File() = default;

  /// Of the format: 2 or 3.
  [[nodiscard]] std::uint32_t version() const { return version_; }
  [[nodiscard]] const std::filesystem::path& path() const { return path_; }
  /// The whole file.
  [[nodiscard]] std::span<const std::byte> bytes() const {
    return {mapping_.get(), mapping_.get_deleter().size};
  }

  /// In the file's order.
  [[nodiscard]] std::span<const Tensor> tensors() const { return tensors_; }
  /// Throws Error naming the tensor if there is none of this name.
  [[nodiscard]] const Tensor& tensor(std::string_view name) const;
  /// Null if there is none of this name.
  [[nodiscard]] const Tensor* find_tensor(std::string_view name) const;

  /// All metadata, by key.
  [[nodiscard]] const std::unordered_map<std::string_view, Value>& metadata() const { return metadata_; }
  [[nodiscard]] bool has(std::string_view key) const { return metadata_.contains(key); }

  /// Typed access. A missing key is an Error, or gives the fallback in the _or forms. A value of another kind
  /// is an Error naming key, type and value; integers of every width convert if they fit, and F64 to F32 if
  /// it is in range.
  [[nodiscard]] std::uint32_t u32(std::string_view key) const;
  [[nodiscard]] std::uint32_t u32_or(std::string_view key, std::uint32_t fallback) const;
  [[nodiscard]] float f32(std::string_view key) const;
  [[nodiscard]] float f32_or(std::string_view key, float fallback) const;
  [[nodiscard]] std::string_view str(std::string_view key) const;
  [[nodiscard]] std::string_view str_or(std::string_view key, std::string_view fallback) const;
  [[nodiscard]] bool boolean_or(std::string_view key, bool fallback) const;
  [[nodiscard]] std::vector<std::string_view> strings(std::string_view key) const;
  [[nodiscard]] std::vector<std::int32_t> i32s(std::string_view key) const;
  [[nodiscard]] std::vector<float> f32s(std::string_view key) const;

 private:
  struct Unmap {
    std::size_t size = 0;
    void operator()(const std::byte* begin) const;
  };
  using Mapping = std::unique_ptr<const std::byte[], Unmap>;
  class Parser;

  File(std::filesystem::path path, Mapping mapping) : path_(std::move(path)), mapping_(std::move(mapping)) {}

  [[nodiscard]] static Mapping map(const std::filesystem::path& path);
  [[nodiscard]] const Value& value(std::string_view key, std::string_view expected) const;
  [[noreturn]] void wrong_value(std::string_view key, const Value& value, std::string_view expected) const;
  template <class T>
  [[nodiscard]] T number(std::string_view key, std::string_view expected) const;
  template <class T>
  [[nodiscard]] std::vector<T> numbers(std::string_view key, std::string_view expected) const;

  std::filesystem::path path_;
  Mapping mapping_;
  std::uint32_t version_ = 0;
  std::vector<Tensor> tensors_;
  // Keys are views into the mapping, so they stay valid when the File moves.
  std::unordered_map<std::string_view, std::size_t> tensor_index_;
  std::unordered_map<std::string_view, Value> metadata_;
};

}  // namespace m40llm::gguf
