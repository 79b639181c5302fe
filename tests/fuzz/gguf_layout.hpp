#pragma once
#include <cstdint>
#include <cstring>
#include <string>
#include <vector>

namespace m40llm::testing {

/// Where the numbers of a well-formed GGUF file stand that say how to read the rest of it: lengths, counts, types,
/// extents, offsets, and values of one number.
struct Field {
  std::size_t offset;
  std::size_t bytes;  ///< 1, 2, 4 or 8
};

class GgufLayout {
 public:
  explicit GgufLayout(const std::string& file) : file_(file) {
    field(4);  // magic
    field(4);  // version
    const std::uint64_t n_tensors = field(8);
    const std::uint64_t n_metadata = field(8);
    for (std::uint64_t i = 0; i < n_metadata; ++i) {
      entries.push_back(at_);
      text();
      value(field(4));
    }
    for (std::uint64_t i = 0; i < n_tensors; ++i) {
      entries.push_back(at_);
      text();
      const std::uint64_t n_dims = field(4);
      for (std::uint64_t d = 0; d < n_dims; ++d) field(8);
      field(4);  // type
      field(8);  // offset
    }
    entries.push_back(at_);
  }

  std::vector<Field> fields;
  std::vector<std::size_t>
      entries;  ///< where metadata entries and tensors begin, and where the last one ends

 private:
  std::uint64_t field(std::size_t bytes) {
    std::uint64_t number = 0;
    std::memcpy(&number, file_.data() + at_, bytes);
    fields.push_back({at_, bytes});
    at_ += bytes;
    return number;
  }
  void text() {
    const std::uint64_t length = field(8);
    at_ += length;
  }
  void value(std::uint64_t type) {
    constexpr std::size_t kBytes[] = {1, 1, 2, 2, 4, 4, 4, 1, 0, 0, 8, 8, 8};
    constexpr std::uint64_t kString = 8, kArray = 9;
    if (type == kString) {
      text();
    } else if (type == kArray) {
      const std::uint64_t element = field(4);
      const std::uint64_t count = field(8);
      for (std::uint64_t i = 0; i < count; ++i) value(element);
    } else {
      field(kBytes[type]);
    }
  }

  const std::string& file_;
  std::size_t at_ = 0;
};

}  // namespace m40llm::testing
