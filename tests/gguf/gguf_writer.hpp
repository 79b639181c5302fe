#pragma once
#include <unistd.h>

#include <cstdint>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <system_error>
#include <type_traits>
#include <vector>

namespace m40llm::testing {

/// Writes GGUF byte by byte, wrong ones too: whatever is passed is written as it is.
class GgufWriter {
 public:
  std::string magic = "GGUF";
  std::uint32_t version = 3;
  std::uint32_t alignment = 32;                 // used for padding; add the metadata key to state it
  std::optional<std::uint64_t> tensor_count;    // instead of the true one
  std::optional<std::uint64_t> metadata_count;  // instead of the true one
  std::string data;                             // the data section

  template <class T>
  static std::string raw(T value) {
    static_assert(std::is_trivially_copyable_v<T>);
    std::string out(sizeof value, '\0');
    std::memcpy(out.data(), &value, sizeof value);
    return out;
  }
  static std::string string(std::string_view text) {
    return raw<std::uint64_t>(text.size()) + std::string(text);
  }

  GgufWriter& entry(std::string_view key, std::uint32_t type, std::string_view payload) {
    metadata_ += string(key) + raw(type) + std::string(payload);
    ++n_metadata_;
    return *this;
  }
  GgufWriter& u32(std::string_view key, std::uint32_t v) { return entry(key, 4, raw(v)); }
  GgufWriter& f32(std::string_view key, float v) { return entry(key, 6, raw(v)); }
  GgufWriter& boolean(std::string_view key, bool v) { return entry(key, 7, raw<std::uint8_t>(v)); }
  GgufWriter& str(std::string_view key, std::string_view v) { return entry(key, 8, string(v)); }
  GgufWriter& array(std::string_view key, std::uint32_t type, std::uint64_t count,
                    std::string_view elements) {
    return entry(key, 9, raw(type) + raw(count) + std::string(elements));
  }
  GgufWriter& strings(std::string_view key, const std::vector<std::string>& values) {
    std::string all;
    for (const std::string& v : values) all += string(v);
    return array(key, 8, values.size(), all);
  }
  GgufWriter& i32s(std::string_view key, const std::vector<std::int32_t>& values) {
    std::string all;
    for (const std::int32_t v : values) all += raw(v);
    return array(key, 5, values.size(), all);
  }
  GgufWriter& tensor(std::string_view name, const std::vector<std::uint64_t>& shape, std::uint32_t type,
                     std::uint64_t offset) {
    tensors_ += string(name) + raw(static_cast<std::uint32_t>(shape.size()));
    for (const std::uint64_t extent : shape) tensors_ += raw(extent);
    tensors_ += raw(type) + raw(offset);
    ++n_tensors_;
    return *this;
  }

  [[nodiscard]] std::string bytes() const {
    std::string out = magic + raw(version) + raw(tensor_count.value_or(n_tensors_)) +
                      raw(metadata_count.value_or(n_metadata_)) + metadata_ + tensors_;
    if (!data.empty()) out.resize((out.size() + alignment - 1) / alignment * alignment);
    return out + data;
  }

 private:
  std::string metadata_, tensors_;
  std::uint64_t n_metadata_ = 0, n_tensors_ = 0;
};

/// A file of its own in the temporary folder, removed at the end of the scope.
class TempFile {
 public:
  explicit TempFile(std::string_view content)
      : path(std::filesystem::temp_directory_path() /
             ("m40llm_test_" + std::to_string(::getpid()) + "_" + std::to_string(++count()) + ".gguf")) {
    write(content);
  }
  ~TempFile() {
    std::error_code ignored;
    std::filesystem::remove(path, ignored);
  }
  TempFile(const TempFile&) = delete;
  TempFile& operator=(const TempFile&) = delete;

  void write(std::string_view content) const {
    std::ofstream out(path, std::ios::binary | std::ios::trunc);
    out.write(content.data(), static_cast<std::streamsize>(content.size()));
    out.close();
    if (!out) throw std::runtime_error("cannot write " + path.string());
  }

  const std::filesystem::path path;

 private:
  static int& count() {
    static int n = 0;
    return n;
  }
};

}  // namespace m40llm::testing
