#pragma once
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "engine/gguf/input_file.hpp"
#include "engine/gguf/tensor_type.hpp"

/// Read-only access to GGUF files, versions 2 and 3, little-endian. Format: docs/gguf.md of the ggml project.
namespace m40llm::gguf {

struct Tensor {
  std::string name;
  TensorType type;
  /// 1 to 4 extents, none of them 0; shape[0] is contiguous (the columns of a weight matrix), as in the file.
  std::vector<std::uint64_t> shape;
  /// Where its data lie in the file, and elements() / block_elements(type) * block_bytes(type) of them.
  std::uint64_t offset;
  std::uint64_t bytes;

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

/// A metadata value as it stands in the file, already checked.
struct Value {
  ValueType type;
  /// Of an array: the type of its elements, never array itself. Otherwise the same as type.
  ValueType element_type;
  /// Of an array: its number of elements. Otherwise 1.
  std::uint64_t count;
  /// The elements, packed and unaligned; strings each with a length of 8 bytes before them.
  std::vector<std::byte> payload;
};

/// A GGUF file. Everything that the file states (offsets, lengths, counts, types, alignment) has been checked
/// against its size when open() returns. Metadata are in memory then, data of tensors are read when they are
/// asked for. Views that it returns live as long as the File; moving it does not invalidate them.
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
  [[nodiscard]] const std::filesystem::path& path() const { return input_.path(); }
  /// Of the whole file, in bytes.
  [[nodiscard]] std::uint64_t size() const { return input_.size(); }
  /// XXH3 (64 bits) of the whole file, which it reads. Throws Error like read().
  [[nodiscard]] std::uint64_t hash() const { return input_.hash(); }
  /// Throws Error of the file's name and `what`.
  [[noreturn]] void fail(const std::string& what) const { input_.fail(what); }

  /// In the file's order.
  [[nodiscard]] std::span<const Tensor> tensors() const { return tensors_; }
  /// Throws Error naming the tensor if there is none of this name.
  [[nodiscard]] const Tensor& tensor(std::string_view name) const;
  /// Null if there is none of this name.
  [[nodiscard]] const Tensor* find_tensor(std::string_view name) const;
  /// Fills `to` with a tensor's data from its byte `from` on; from + to.size() <= tensor.bytes. Throws Error
  /// naming the file if it does not have them any more or cannot be read.
  void read(const Tensor& tensor, std::uint64_t from, std::span<std::byte> to) const;
  /// All of them.
  [[nodiscard]] std::vector<std::byte> read(const Tensor& tensor) const;

  // A sorted table, as all that are filled from files: no choice of names makes finding one slow.
  using Metadata = std::map<std::string, Value, std::less<>>;
  [[nodiscard]] const Metadata& metadata() const { return metadata_; }
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
  class Parser;

  explicit File(InputFile input) : input_(std::move(input)) {}

  [[nodiscard]] const Value& value(std::string_view key, std::string_view expected) const;
  [[noreturn]] void wrong_value(std::string_view key, const Value& value, std::string_view expected) const;
  template <class T>
  [[nodiscard]] T number(std::string_view key, std::string_view expected) const;
  template <class T>
  [[nodiscard]] std::vector<T> numbers(std::string_view key, std::string_view expected) const;

  InputFile input_;
  std::uint32_t version_ = 0;
  std::vector<Tensor> tensors_;
  std::vector<std::size_t> by_name_;  // indices of tensors_
  Metadata metadata_;
};

}  // namespace m40llm::gguf
