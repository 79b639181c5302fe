#include "engine/gguf/file.hpp"

#include <algorithm>
#include <array>
#include <bit>
#include <concepts>
#include <cstring>
#include <limits>
#include <numeric>
#include <optional>
#include <utility>

#include "engine/error.hpp"
#include "engine/printable.hpp"

static_assert(std::endian::native == std::endian::little, "values are read from the file as they lie");

namespace m40llm::gguf {
namespace {

constexpr std::uint64_t kMaxDims = 4;
constexpr std::uint32_t kDefaultAlignment = 32;
// The least that an entry can take in the file: bounds a count before anything is done with it.
constexpr std::uint64_t kMinTensorInfoBytes =
    8 + 1 + 4 + 8 + 4 + 8;                                  // name, n_dims, one extent, type, offset
constexpr std::uint64_t kMinMetadataBytes = 8 + 1 + 4 + 1;  // key, type, value

/// Of what stands before the data: vocabularies take a few dozen MiB. A file can say that it has more without
/// taking the space on disk, but not make anyone reserve it.
constexpr std::uint64_t kMaxHeadBytes = std::uint64_t{256} << 20;
constexpr std::size_t kReadAtOnce = 64 << 10;

constexpr std::array<std::string_view, 13> kValueTypeNames{
    "u8", "i8", "u16", "i16", "u32", "i32", "f32", "bool", "string", "array", "u64", "i64", "f64"};
constexpr std::array<std::uint64_t, 13> kValueTypeBytes{1, 1, 2, 2, 4, 4, 4, 1, 0, 0, 8, 8, 8};

std::string_view name(ValueType type) { return kValueTypeNames.at(static_cast<std::size_t>(type)); }
std::uint64_t value_bytes(ValueType type) { return kValueTypeBytes.at(static_cast<std::size_t>(type)); }

template <class T>
T load(const std::byte* at) {
  T result;
  std::memcpy(&result, at, sizeof result);  // metadata is not aligned
  return result;
}

/// Calls visitor with the number at `at`, in its own C++ type; with nothing for strings and arrays.
template <class Visitor>
auto visit_number(ValueType type, const std::byte* at, Visitor visitor) -> decltype(visitor(std::uint8_t{})) {
  switch (type) {
    case ValueType::u8:
      return visitor(load<std::uint8_t>(at));
    case ValueType::i8:
      return visitor(load<std::int8_t>(at));
    case ValueType::u16:
      return visitor(load<std::uint16_t>(at));
    case ValueType::i16:
      return visitor(load<std::int16_t>(at));
    case ValueType::u32:
      return visitor(load<std::uint32_t>(at));
    case ValueType::i32:
      return visitor(load<std::int32_t>(at));
    case ValueType::u64:
      return visitor(load<std::uint64_t>(at));
    case ValueType::i64:
      return visitor(load<std::int64_t>(at));
    case ValueType::f32:
      return visitor(load<float>(at));
    case ValueType::f64:
      return visitor(load<double>(at));
    case ValueType::boolean:
      return visitor(load<std::uint8_t>(at) != 0);
    case ValueType::string:
    case ValueType::array:
      break;
  }
  return {};
}

/// The number at `at` as a To, if it is of that kind (integer or floating point) and fits.
template <class To>
std::optional<To> convert(ValueType type, const std::byte* at) {
  return visit_number(type, at, [](auto from) -> std::optional<To> {
    using From = decltype(from);
    if constexpr (std::same_as<From, bool>) {
      return std::nullopt;
    } else if constexpr (std::integral<To> && std::integral<From>) {
      if (std::in_range<To>(from)) return static_cast<To>(from);
    } else if constexpr (std::floating_point<To> && std::same_as<From, To>) {
      return from;
    } else if constexpr (std::floating_point<To> && std::floating_point<From>) {
      // Written so that a NaN passes: it is not out of range.
      const auto limit = static_cast<From>(std::numeric_limits<To>::max());
      if (!(from > limit || from < -limit)) return static_cast<To>(from);
    }
    return std::nullopt;
  });
}

std::string_view as_text(std::span<const std::byte> bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

/// The string whose length stands at the start of bytes. Only for payloads that open() has checked.
std::string_view string_at(std::span<const std::byte> bytes) {
  const auto length = load<std::uint64_t>(bytes.data());
  return as_text(bytes.subspan(8, static_cast<std::size_t>(length)));
}

std::string describe(const Value& value) {
  const std::string type(name(value.type));
  if (value.type == ValueType::string) return "string " + in_quotes(string_at(value.payload));
  if (value.type == ValueType::array) {
    return "array of " + std::to_string(value.count) + " " + std::string(name(value.element_type));
  }
  return type + " " +
         visit_number(value.type, value.payload.data(), [](auto v) { return std::to_string(v); });
}

}  // namespace

std::uint64_t Tensor::elements() const {
  std::uint64_t product = 1;
  for (const std::uint64_t extent : shape) product *= extent;
  return product;
}

/// Walks the file once from its start and fills a File; every read is bounded by the file's size.
class File::Parser {
 public:
  explicit Parser(File& file) : file_(file), size_(file.size()) {}

  void parse() {
    read_magic_and_version();
    subject_ = "the header";
    const auto tensor_count = read<std::uint64_t>("tensor count");
    const auto metadata_count = read<std::uint64_t>("metadata count");
    check_count("metadata entries", metadata_count, kMinMetadataBytes);
    for (std::uint64_t i = 0; i < metadata_count; ++i) read_metadata(i);
    alignment_ = read_alignment();
    check_count("tensors", tensor_count, kMinTensorInfoBytes);
    for (std::uint64_t i = 0; i < tensor_count; ++i) read_tensor_info(i);
    index_tensors();
    place_tensor_data();
  }

 private:
  [[noreturn]] void fail(const std::string& what) const { file_.fail(what); }

  [[nodiscard]] std::uint64_t remaining() const { return size_ - offset_; }

  /// Refuses to read `count` bytes that the file does not have; `part` of the current subject for the message.
  void require(std::uint64_t count, std::string_view part) const {
    if (count > remaining()) {
      fail("truncated or damaged: " + subject_ + ": " + std::string(part) + " at byte " +
           std::to_string(offset_) + " takes " + std::to_string(count) + " bytes, but the file ends after " +
           std::to_string(remaining()) + " more (it has " + std::to_string(size_) + ")");
    }
    if (count > kMaxHeadBytes - offset_) {
      fail(subject_ + ": " + std::string(part) + " at byte " + std::to_string(offset_) + " takes " +
           std::to_string(count) + " bytes: metadata and list of tensors are more than the " +
           std::to_string(kMaxHeadBytes >> 20) + " MiB expected at most");
    }
  }

  /// The next bytes of the file, through a window that is moved along.
  void take(std::span<std::byte> to, std::string_view part) {
    require(to.size(), part);
    while (!to.empty()) {
      if (offset_ - window_begin_ == window_.size()) move_window();
      const auto in_window = std::span(window_).subspan(static_cast<std::size_t>(offset_ - window_begin_));
      const std::size_t n = std::min(to.size(), in_window.size());
      std::copy_n(in_window.begin(), n, to.begin());
      to = to.subspan(n);
      offset_ += n;
    }
  }

  void move_window() {
    window_.resize(static_cast<std::size_t>(std::min<std::uint64_t>(remaining(), kReadAtOnce)));
    file_.input_.read(offset_, window_);
    window_begin_ = offset_;
  }

  template <class T>
  T read(std::string_view part) {
    std::array<std::byte, sizeof(T)> bytes;
    take(bytes, part);
    return load<T>(bytes.data());
  }

  std::string read_string(std::string_view part) {
    const auto length = read<std::uint64_t>(part);
    require(length, part);
    std::string text(static_cast<std::size_t>(length), '\0');
    take(std::as_writable_bytes(std::span(text)), part);
    return text;
  }

  void check_count(std::string_view what, std::uint64_t count, std::uint64_t min_bytes) const {
    if (count > remaining() / min_bytes) {
      fail("truncated or damaged: it says it holds " + std::to_string(count) + " " + std::string(what) +
           ", which cannot fit into the " + std::to_string(remaining()) +
           " bytes left (each takes at least " + std::to_string(min_bytes) + ")");
    }
  }

  void read_magic_and_version() {
    subject_ = "the header";
    const auto bytes = read<std::array<std::byte, 4>>("magic");
    const std::string_view magic = as_text(bytes);
    if (magic == "FUGG") fail("is a big-endian GGUF file (magic 'FUGG'; expected little-endian, 'GGUF')");
    if (magic != "GGUF") fail("is not a GGUF file (magic " + in_quotes(magic) + ", expected 'GGUF')");
    file_.version_ = read<std::uint32_t>("version");
    // Big-endian files keep the magic's byte order; their version is what gives them away.
    if (const std::uint32_t swapped = __builtin_bswap32(file_.version_); swapped >= 1 && swapped <= 3) {
      fail("is a big-endian GGUF file (version " + std::to_string(swapped) +
           " in the other byte order; expected little-endian)");
    }
    if (file_.version_ != 2 && file_.version_ != 3) {
      fail("GGUF version " + std::to_string(file_.version_) + " is not supported (expected 2 or 3)");
    }
  }

  ValueType read_value_type(std::string_view part) {
    const auto number = read<std::uint32_t>(part);
    if (number >= kValueTypeNames.size()) {
      fail(subject_ + ": " + std::string(part) + " " + std::to_string(number) +
           " is unknown (expected 0 to " + std::to_string(kValueTypeNames.size() - 1) + ")");
    }
    return static_cast<ValueType>(number);
  }

  void read_metadata(std::uint64_t index) {
    subject_ = "metadata entry " + std::to_string(index);
    const std::string key = read_string("key");
    if (key.empty()) fail(subject_ + ": its key is empty");
    subject_ = "metadata key " + in_quotes(key);
    Value value{read_value_type("value type"), {}, 1, {}};
    value.element_type = value.type;
    if (value.type == ValueType::array) {
      value.element_type = read_value_type("array element type");
      if (value.element_type == ValueType::array) fail(subject_ + ": an array of arrays is not supported");
      value.count = read<std::uint64_t>("array length");
    }
    value.payload = read_elements(value.element_type, value.count);
    if (!file_.metadata_.emplace(key, std::move(value)).second) fail(subject_ + " occurs twice");
  }

  std::vector<std::byte> read_elements(ValueType type, std::uint64_t count) {
    if (type == ValueType::string) return read_strings(count);
    if (count > remaining() / value_bytes(type)) fail_array(type, count);
    require(count * value_bytes(type), "value");
    std::vector<std::byte> elements(static_cast<std::size_t>(count * value_bytes(type)));
    take(elements, "value");
    if (type == ValueType::boolean) check_booleans(elements);
    return elements;
  }

  /// Each with its length before it, as in the file.
  std::vector<std::byte> read_strings(std::uint64_t count) {
    if (count > remaining() / 8) fail_array(ValueType::string, count);
    std::vector<std::byte> strings;
    for (std::uint64_t i = 0; i < count; ++i) {
      const auto length = read<std::uint64_t>("string");
      require(length, "string");
      const std::size_t at = strings.size();
      const std::size_t size = sizeof length + static_cast<std::size_t>(length);
      if (at + size > strings.capacity()) strings.reserve(std::max(at + size, 2 * at));
      strings.resize(at + size);
      std::memcpy(strings.data() + at, &length, sizeof length);
      take(std::span(strings).subspan(at + sizeof length), "string");
    }
    return strings;
  }

  [[noreturn]] void fail_array(ValueType type, std::uint64_t count) const {
    fail("truncated or damaged: " + subject_ + ": " + std::to_string(count) + " values of type " +
         std::string(name(type)) + " at byte " + std::to_string(offset_) + " do not fit into the " +
         std::to_string(remaining()) + " bytes left");
  }

  void check_booleans(std::span<const std::byte> values) const {
    for (const std::byte value : values) {
      if (std::to_integer<unsigned>(value) > 1) {
        fail(subject_ + ": the bool has the value " + std::to_string(std::to_integer<unsigned>(value)) +
             " (expected 0 or 1)");
      }
    }
  }

  std::uint32_t read_alignment() const {
    const auto it = file_.metadata_.find("general.alignment");
    if (it == file_.metadata_.end()) return kDefaultAlignment;
    const auto alignment = convert<std::uint32_t>(it->second.type, it->second.payload.data());
    // Multiples of 8 by the format; powers of two by every writer, and needed for aligned loads.
    if (!alignment || *alignment < 8 || !std::has_single_bit(*alignment)) {
      fail("metadata key 'general.alignment' is " + describe(it->second) +
           " (expected a power of two, 8 or more)");
    }
    return *alignment;
  }

  void read_tensor_info(std::uint64_t index) {
    subject_ = "tensor " + std::to_string(index);
    std::string name = read_string("name");
    if (name.empty()) fail(subject_ + ": its name is empty");
    subject_ = "tensor " + in_quotes(name);
    Tensor tensor{std::move(name), TensorType::f32, read_shape(), 0, 0};
    tensor.type = read_tensor_type();
    if (tensor.shape[0] % block_elements(tensor.type) != 0) {
      fail(subject_ + ": its first extent " + std::to_string(tensor.shape[0]) + " is not a multiple of " +
           std::to_string(block_elements(tensor.type)) + ", the block of " +
           std::string(gguf::name(tensor.type)));
    }
    tensor.offset = read<std::uint64_t>("data offset");
    if (tensor.offset % alignment_ != 0) {
      fail(subject_ + ": its data offset " + std::to_string(tensor.offset) +
           " is not a multiple of the alignment " + std::to_string(alignment_));
    }
    file_.tensors_.push_back(std::move(tensor));
  }

  TensorType read_tensor_type() {
    const auto number = read<std::uint32_t>("type");
    try {
      return tensor_type(number);
    } catch (const Error& error) {
      fail(subject_ + ": " + error.what());
    }
  }

  std::vector<std::uint64_t> read_shape() {
    const auto n_dims = read<std::uint32_t>("number of dimensions");
    if (n_dims == 0 || n_dims > kMaxDims) {
      fail(subject_ + ": it has " + std::to_string(n_dims) + " dimensions (expected 1 to " +
           std::to_string(kMaxDims) + ")");
    }
    std::vector<std::uint64_t> shape(n_dims);
    std::uint64_t elements = 1;
    for (std::uint64_t& extent : shape) {
      extent = read<std::uint64_t>("extent");
      if (extent == 0) fail(subject_ + ": one of its extents is 0 (expected 1 or more)");
      if (__builtin_mul_overflow(elements, extent, &elements)) {
        fail(subject_ + ": its number of elements does not fit into 64 bits");
      }
    }
    return shape;
  }

  void index_tensors() {
    const std::vector<Tensor>& tensors = file_.tensors_;
    std::vector<std::size_t>& order = file_.by_name_;
    order.resize(tensors.size());
    std::iota(order.begin(), order.end(), std::size_t{0});
    std::sort(order.begin(), order.end(),
              [&](std::size_t a, std::size_t b) { return tensors[a].name < tensors[b].name; });
    const auto twice = std::adjacent_find(order.begin(), order.end(), [&](std::size_t a, std::size_t b) {
      return tensors[a].name == tensors[b].name;
    });
    if (twice != order.end()) fail("tensor " + in_quotes(tensors[*twice].name) + " occurs twice");
  }

  /// Makes the offsets, which count from the start of the data section, those of the file.
  void place_tensor_data() {
    if (file_.tensors_.empty()) return;
    // offset_ is at most kMaxHeadBytes, so that rounding it up cannot overflow.
    const std::uint64_t begin = (offset_ + alignment_ - 1) / alignment_ * alignment_;
    const std::uint64_t available = begin <= size_ ? size_ - begin : 0;
    for (Tensor& tensor : file_.tensors_) {
      const std::uint64_t blocks = tensor.elements() / block_elements(tensor.type);
      const bool overflow = __builtin_mul_overflow(blocks, block_bytes(tensor.type), &tensor.bytes);
      if (overflow || tensor.offset > available || tensor.bytes > available - tensor.offset) {
        fail("truncated or damaged: tensor " + in_quotes(tensor.name) + ": its data (" +
             (overflow ? "more than 2^64" : std::to_string(tensor.bytes)) + " bytes at offset " +
             std::to_string(tensor.offset) +
             " of the data section) goes past the end of the file (the section has " +
             std::to_string(available) + " bytes)");
      }
      tensor.offset += begin;
    }
    check_overlaps();
  }

  void check_overlaps() const {
    std::vector<const Tensor*> order;
    for (const Tensor& tensor : file_.tensors_) order.push_back(&tensor);
    std::sort(order.begin(), order.end(),
              [](const Tensor* a, const Tensor* b) { return a->offset < b->offset; });
    for (std::size_t i = 1; i < order.size(); ++i) {
      if (order[i - 1]->offset + order[i - 1]->bytes > order[i]->offset) {
        fail("the data of tensors " + in_quotes(order[i - 1]->name) + " and " + in_quotes(order[i]->name) +
             " overlap");
      }
    }
  }

  File& file_;
  std::uint64_t size_;
  std::uint64_t offset_ = 0;
  std::vector<std::byte> window_;  // the file's bytes from window_begin_ on
  std::uint64_t window_begin_ = 0;
  std::string subject_;  // what is being read, for messages
  std::uint32_t alignment_ = kDefaultAlignment;
};

File File::open(const std::filesystem::path& path) {
  File file{InputFile(path)};
  Parser(file).parse();
  return file;
}

void File::read(const Tensor& tensor, std::uint64_t from, std::span<std::byte> to) const {
  input_.read(tensor.offset + from, to);
}

std::vector<std::byte> File::read(const Tensor& tensor) const {
  std::vector<std::byte> data(static_cast<std::size_t>(tensor.bytes));
  read(tensor, 0, data);
  return data;
}

const Tensor& File::tensor(std::string_view name) const {
  const Tensor* found = find_tensor(name);
  if (found == nullptr) {
    fail("tensor " + in_quotes(name) + " is missing (the file has " + std::to_string(tensors_.size()) +
         " tensors)");
  }
  return *found;
}

const Tensor* File::find_tensor(std::string_view name) const {
  const auto it = std::lower_bound(by_name_.begin(), by_name_.end(), name,
                                   [&](std::size_t i, std::string_view n) { return tensors_[i].name < n; });
  return it == by_name_.end() || tensors_[*it].name != name ? nullptr : &tensors_[*it];
}

const Value& File::value(std::string_view key, std::string_view expected) const {
  const auto it = metadata_.find(key);
  if (it == metadata_.end()) {
    fail("metadata key " + in_quotes(key) + " is missing (expected " + std::string(expected) + ")");
  }
  return it->second;
}

void File::wrong_value(std::string_view key, const Value& value, std::string_view expected) const {
  fail("metadata key " + in_quotes(key) + " is " + describe(value) + " (expected " + std::string(expected) +
       ")");
}

template <class T>
T File::number(std::string_view key, std::string_view expected) const {
  const Value& found = value(key, expected);
  const auto converted = convert<T>(found.type, found.payload.data());
  if (!converted) wrong_value(key, found, expected);
  return *converted;
}

template <class T>
std::vector<T> File::numbers(std::string_view key, std::string_view expected) const {
  const Value& found = value(key, expected);
  if (found.type != ValueType::array || found.element_type == ValueType::string)
    wrong_value(key, found, expected);
  const auto width = static_cast<std::size_t>(value_bytes(found.element_type));
  std::vector<T> result;
  result.reserve(found.payload.size() / width);
  for (std::size_t at = 0; at < found.payload.size(); at += width) {
    const std::byte* const element = found.payload.data() + at;
    const auto converted = convert<T>(found.element_type, element);
    if (!converted) {
      fail("metadata key " + in_quotes(key) + " has the element " +
           describe({found.element_type, found.element_type, 1, {element, element + width}}) + " at index " +
           std::to_string(at / width) + " (expected " + std::string(expected) + ")");
    }
    result.push_back(*converted);
  }
  return result;
}

std::uint32_t File::u32(std::string_view key) const {
  return number<std::uint32_t>(key, "an integer from 0 to 4294967295");
}

std::uint32_t File::u32_or(std::string_view key, std::uint32_t fallback) const {
  return has(key) ? u32(key) : fallback;
}

float File::f32(std::string_view key) const { return number<float>(key, "a floating-point number"); }

float File::f32_or(std::string_view key, float fallback) const { return has(key) ? f32(key) : fallback; }

std::string_view File::str(std::string_view key) const {
  const Value& found = value(key, "a string");
  if (found.type != ValueType::string) wrong_value(key, found, "a string");
  return string_at(found.payload);
}

std::string_view File::str_or(std::string_view key, std::string_view fallback) const {
  return has(key) ? str(key) : fallback;
}

bool File::boolean_or(std::string_view key, bool fallback) const {
  if (!has(key)) return fallback;
  const Value& found = value(key, "a bool");
  if (found.type != ValueType::boolean) wrong_value(key, found, "a bool");
  return found.payload[0] != std::byte{0};
}

std::vector<std::string_view> File::strings(std::string_view key) const {
  constexpr std::string_view kExpected = "an array of strings";
  const Value& found = value(key, kExpected);
  if (found.type != ValueType::array || found.element_type != ValueType::string)
    wrong_value(key, found, kExpected);
  std::vector<std::string_view> result;
  result.reserve(static_cast<std::size_t>(found.count));  // open() has walked all of them
  for (auto rest = std::span(found.payload); !rest.empty();) {
    result.push_back(string_at(rest));
    rest = rest.subspan(8 + result.back().size());
  }
  return result;
}

std::vector<std::int32_t> File::i32s(std::string_view key) const {
  return numbers<std::int32_t>(key, "an array of integers from -2147483648 to 2147483647");
}

std::vector<float> File::f32s(std::string_view key) const {
  return numbers<float>(key, "an array of floating-point numbers");
}

}  // namespace m40llm::gguf
