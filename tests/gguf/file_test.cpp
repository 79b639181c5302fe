#include "engine/gguf/file.hpp"

#include <gtest/gtest.h>
#include <sys/stat.h>

#include <array>
#include <chrono>
#include <cstdlib>
#include <limits>
#include <tuple>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "engine/error.hpp"
#include "tests/gguf/colliding_strings.hpp"
#include "tests/gguf/gguf_writer.hpp"

namespace m40llm {
namespace {

using gguf::File;
using gguf::TensorType;
using testing::GgufWriter;
using testing::TempFile;

constexpr std::uint64_t kHuge = 0xffff'ffff'ffff'fff0u;

/// Two tensors (F32 of 3x2, Q4_1 of 64) and one metadata entry of each kind; ends with the last byte of
/// tensor data.
GgufWriter small() {
  GgufWriter w;
  w.str("general.architecture", "llama").u32("llama.block_count", 30).f32("eps", 1e-5f).boolean("flag", true);
  w.strings("words", {"one", "", "three"}).i32s("types", {1, -2, 3});
  w.tensor("a.weight", {3, 2}, 0, 0).tensor("b.weight", {64}, 3, 32);
  w.data.resize(32 + 2 * 20);
  for (std::size_t i = 0; i < w.data.size(); ++i) w.data[i] = static_cast<char>(i);
  return w;
}

/// The message of the Error that opening these bytes throws; "" if it opens.
std::string open_error(const std::string& bytes) {
  const TempFile file(bytes);
  try {
    (void)File::open(file.path);
    return "";
  } catch (const Error& error) {
    const std::string message = error.what();
    EXPECT_NE(message.find(file.path.string()), std::string::npos) << "does not name the file: " << message;
    return message;
  }
}

void expect_refused(const std::string& bytes, const std::vector<std::string>& named) {
  const std::string message = open_error(bytes);
  ASSERT_NE(message, "") << "was opened";
  for (const std::string& part : named)
    EXPECT_NE(message.find(part), std::string::npos) << part << " in: " << message;
}

template <class F>
std::string error_of(F f) {
  try {
    (void)f();
    return "";
  } catch (const Error& error) {
    return error.what();
  }
}

TEST(GgufFile, ReadsTensorsAndMetadata) {
  for (const std::uint32_t version : {2u, 3u}) {
    GgufWriter w = small();
    w.version = version;
    const TempFile temp(w.bytes());
    File opened = File::open(temp.path);
    const File file = std::move(opened);
    EXPECT_EQ(file.version(), version);
    EXPECT_EQ(file.path(), temp.path);
    ASSERT_EQ(file.tensors().size(), 2u);
    const auto& a = file.tensor("a.weight");
    EXPECT_EQ(a.type, TensorType::f32);
    EXPECT_EQ(a.shape, (std::vector<std::uint64_t>{3, 2}));
    EXPECT_EQ(a.elements(), 6u);
    ASSERT_EQ(a.bytes, 24u);
    EXPECT_EQ(file.read(a).at(23), std::byte{23});
    const auto* b = file.find_tensor("b.weight");
    ASSERT_NE(b, nullptr);
    EXPECT_EQ(b->type, TensorType::q4_1);
    ASSERT_EQ(b->bytes, 40u);
    EXPECT_EQ(file.read(*b).at(0), std::byte{32});
    EXPECT_EQ(b->offset + 40, file.size());
    std::array<std::byte, 3> part{};
    file.read(*b, 7, part);
    EXPECT_EQ(part, (std::array{std::byte{39}, std::byte{40}, std::byte{41}}));
    EXPECT_EQ(file.find_tensor("c.weight"), nullptr);
    EXPECT_NE(error_of([&] { return file.tensor("c.weight").elements(); }).find("'c.weight' is missing"),
              std::string::npos);
    EXPECT_TRUE(file.has("eps"));
    EXPECT_FALSE(file.has("epsilon"));
    EXPECT_EQ(file.u32("llama.block_count"), 30u);
    EXPECT_EQ(file.f32("eps"), 1e-5f);
    EXPECT_EQ(file.str("general.architecture"), "llama");
    EXPECT_TRUE(file.boolean_or("flag", false));
    EXPECT_EQ(file.strings("words"), (std::vector<std::string_view>{"one", "", "three"}));
    EXPECT_EQ(file.i32s("types"), (std::vector<std::int32_t>{1, -2, 3}));
    EXPECT_EQ(file.u32_or("no", 7), 7u);
    EXPECT_EQ(file.f32_or("no", 7.5f), 7.5f);
    EXPECT_EQ(file.str_or("no", "x"), "x");
    EXPECT_TRUE(file.boolean_or("no", true));
  }
}

TEST(GgufFile, OpensAFileWithNothingInIt) {
  const TempFile temp(GgufWriter().bytes());
  const File file = File::open(temp.path);
  EXPECT_TRUE(file.tensors().empty());
  EXPECT_TRUE(file.metadata().empty());
}

TEST(GgufFile, NumbersOfEveryWidthConvertIfTheyFit) {
  GgufWriter w;
  w.entry("u8", 0, GgufWriter::raw<std::uint8_t>(200)).entry("i8", 1, GgufWriter::raw<std::int8_t>(-3));
  w.entry("u16", 2, GgufWriter::raw<std::uint16_t>(60000)).entry("i16", 3, GgufWriter::raw<std::int16_t>(5));
  w.entry("i32", 5, GgufWriter::raw<std::int32_t>(-1))
      .entry("u64", 10, GgufWriter::raw<std::uint64_t>(4294967295u));
  w.entry("u64_big", 10, GgufWriter::raw<std::uint64_t>(4294967296u))
      .entry("i64", 11, GgufWriter::raw<std::int64_t>(9));
  w.entry("f64", 12, GgufWriter::raw(0.25)).entry("f64_big", 12, GgufWriter::raw(1e300));
  w.entry("f64_inf", 12, GgufWriter::raw(std::numeric_limits<double>::infinity())).entry("bool", 7, "\x01");
  w.array("u64s", 10, 2, GgufWriter::raw<std::uint64_t>(1) + GgufWriter::raw<std::uint64_t>(1u << 31));
  w.array("u16s", 2, 2, GgufWriter::raw<std::uint16_t>(1) + GgufWriter::raw<std::uint16_t>(65535));
  w.array("floats", 6, 2, GgufWriter::raw(1.5f) + GgufWriter::raw(-2.0f)).str("text", "abc\n");
  const TempFile temp(w.bytes());
  const File file = File::open(temp.path);
  EXPECT_EQ(file.u32("u8"), 200u);
  EXPECT_EQ(file.u32("u16"), 60000u);
  EXPECT_EQ(file.u32("i16"), 5u);
  EXPECT_EQ(file.u32("u64"), 4294967295u);
  EXPECT_EQ(file.u32("i64"), 9u);
  EXPECT_EQ(file.f32("f64"), 0.25f);
  EXPECT_EQ(file.i32s("u16s"), (std::vector<std::int32_t>{1, 65535}));
  EXPECT_EQ(file.f32s("floats"), (std::vector<float>{1.5f, -2.0f}));

  const auto expect_error = [](const std::string& message, const std::vector<std::string>& named) {
    ASSERT_NE(message, "");
    for (const std::string& part : named)
      EXPECT_NE(message.find(part), std::string::npos) << part << ": " << message;
  };
  expect_error(error_of([&] { return file.u32("i8"); }),
               {temp.path.string(), "'i8'", "i8 -3", "expected an integer"});
  expect_error(error_of([&] { return file.u32("i32"); }), {"'i32'", "i32 -1"});
  expect_error(error_of([&] { return file.u32("u64_big"); }), {"u64 4294967296"});
  expect_error(error_of([&] { return file.u32_or("u64_big", 1); }), {"u64 4294967296"});
  expect_error(error_of([&] { return file.u32("text"); }), {"string 'abc\\x0a'"});
  expect_error(error_of([&] { return file.u32("bool"); }), {"'bool'", "bool 1"});
  expect_error(error_of([&] { return file.u32("u64s"); }), {"array of 2 u64"});
  expect_error(error_of([&] { return file.u32("f64"); }), {"f64 0.25"});
  expect_error(error_of([&] { return file.f32("f64_big"); }), {"'f64_big'"});
  expect_error(error_of([&] { return file.f32("f64_inf"); }), {"'f64_inf'", "inf"});
  expect_error(error_of([&] { return file.f32("u8"); }), {"u8 200", "floating-point"});
  expect_error(error_of([&] { return file.str("u8"); }), {"u8 200", "a string"});
  expect_error(error_of([&] { return file.boolean_or("u8", true); }), {"u8 200", "a bool"});
  expect_error(error_of([&] { return file.strings("floats"); }), {"array of 2 f32", "array of strings"});
  expect_error(error_of([&] { return file.i32s("u64s"); }), {"u64 2147483648", "index 1"});
  expect_error(error_of([&] { return file.i32s("u8"); }), {"u8 200", "array of integers"});
  expect_error(error_of([&] { return file.f32s("u16s"); }), {"u16 1", "index 0"});
  expect_error(error_of([&] { return file.u32("none"); }), {"'none' is missing", "expected an integer"});
  expect_error(error_of([&] { return file.strings("none").size(); }), {"'none' is missing"});
}

TEST(GgufFile, TypesHaveTheFormatsBlocks) {
  EXPECT_EQ(gguf::name(TensorType::q4_1), "Q4_1");
  EXPECT_EQ(gguf::block_elements(TensorType::q4_1), 32u);
  EXPECT_EQ(gguf::block_bytes(TensorType::q4_1), 2u + 2u + 16u);       // scale, minimum, 32 nibbles
  EXPECT_EQ(gguf::block_bytes(TensorType::q4_0), 2u + 16u);            // scale, 32 nibbles
  EXPECT_EQ(gguf::block_bytes(TensorType::q5_0), 2u + 4u + 16u);       // scale, fifth bits, nibbles
  EXPECT_EQ(gguf::block_bytes(TensorType::q5_1), 2u + 2u + 4u + 16u);  // and a minimum
  EXPECT_EQ(gguf::block_bytes(TensorType::q8_0), 2u + 32u);            // scale, 32 bytes
  EXPECT_EQ(gguf::block_elements(TensorType::q6_k), 256u);
  EXPECT_EQ(gguf::block_bytes(TensorType::q4_k), 4u + 12u + 128u);        // two scales, 6-bit scales, nibbles
  EXPECT_EQ(gguf::block_bytes(TensorType::q5_k), 4u + 12u + 32u + 128u);  // and fifth bits
  EXPECT_EQ(gguf::block_bytes(TensorType::q6_k),
            128u + 64u + 16u + 2u);  // nibbles, upper bits, scales, scale
  EXPECT_EQ(gguf::block_bytes(TensorType::bf16), 2u);
}

TEST(GgufFile, KnowsEveryTypeByNameNumberAndBlock) {
  // Blocks of gguf-py's GGML_QUANT_SIZES.
  constexpr std::uint64_t k = 256;
  const std::vector<std::tuple<std::uint32_t, const char*, std::uint64_t, std::uint64_t>> types{
      {0, "F32", 1, 4},
      {1, "F16", 1, 2},
      {2, "Q4_0", 32, 2 + 16},
      {3, "Q4_1", 32, 2 + 2 + 16},
      {6, "Q5_0", 32, 2 + 4 + 16},
      {7, "Q5_1", 32, 2 + 2 + 4 + 16},
      {8, "Q8_0", 32, 2 + 32},
      {9, "Q8_1", 32, 2 + 2 + 32},
      {10, "Q2_K", k, 2 + 2 + k / 16 + k / 4},
      {11, "Q3_K", k, 2 + k / 4 + k / 8 + 12},
      {12, "Q4_K", k, 2 + 2 + k / 2 + 12},
      {13, "Q5_K", k, 2 + 2 + k / 2 + k / 8 + 12},
      {14, "Q6_K", k, 2 + k / 2 + k / 4 + k / 16},
      {15, "Q8_K", k, 4 + k + k / 8},
      {16, "IQ2_XXS", k, 2 + k / 4},
      {17, "IQ2_XS", k, 2 + k / 4 + k / 32},
      {18, "IQ3_XXS", k, 2 + k / 4 + k / 8},
      {19, "IQ1_S", k, 2 + k / 8 + k / 16},
      {20, "IQ4_NL", 32, 2 + 16},
      {21, "IQ3_S", k, 2 + k / 4 + k / 8 + k / 32 + 4},
      {22, "IQ2_S", k, 2 + k / 4 + k / 16},
      {23, "IQ4_XS", k, 2 + 2 + k / 2 + k / 64},
      {24, "I8", 1, 1},
      {25, "I16", 1, 2},
      {26, "I32", 1, 4},
      {27, "I64", 1, 8},
      {28, "F64", 1, 8},
      {29, "IQ1_M", k, k / 8 + k / 16 + k / 32},
      {30, "BF16", 1, 2},
      {34, "TQ1_0", k, 2 + 4 * 13},
      {35, "TQ2_0", k, 2 + 64},
      {39, "MXFP4", 32, 1 + 16},
      {40, "NVFP4", 64, 4 + 32},
      {41, "Q1_0", 128, 2 + 16},
      {42, "Q2_0", 64, 2 + 16},
  };
  std::uint32_t next = 0;
  for (const auto& [number, name, elements, bytes] : types) {
    for (; next < number; ++next) EXPECT_THROW((void)gguf::tensor_type(next), Error) << next;
    ++next;
    const TensorType type = gguf::tensor_type(number);
    EXPECT_EQ(static_cast<std::uint32_t>(type), number);
    EXPECT_EQ(gguf::name_and_number(type), std::string(name) + " (" + std::to_string(number) + ")");
    EXPECT_EQ(gguf::block_elements(type), elements) << name;
    EXPECT_EQ(gguf::block_bytes(type), bytes) << name;
  }
  EXPECT_THROW((void)gguf::tensor_type(next), Error);
}

TEST(GgufFile, RefusesWhatIsNoFile) {
  EXPECT_NE(error_of([] {
              return File::open("/nonexistent/m.gguf");
            }).find("/nonexistent/m.gguf: cannot be opened"),
            std::string::npos);
  EXPECT_NE(error_of([] { return File::open("/"); }).find("is a directory"), std::string::npos);
  const TempFile pipe("");
  std::filesystem::remove(pipe.path);
  ASSERT_EQ(::mkfifo(pipe.path.c_str(), 0600), 0);
  EXPECT_NE(error_of([&] { return File::open(pipe.path); }).find("not a regular file"), std::string::npos);
  EXPECT_NE(error_of([] { return File::open("/dev/zero"); }).find("not a regular file"), std::string::npos);
  // A regular file, by what the system says, that is endless, empty or no GGUF file.
  EXPECT_NE(error_of([] { return File::open("/proc/self/status"); }).find("is empty"), std::string::npos);
}

TEST(GgufFile, RefusesAFileThatIsShortenedWhileItIsOpen) {
  GgufWriter w = small();
  w.data.resize(1 << 20);
  const TempFile temp(w.bytes());
  const File file = File::open(temp.path);
  const auto& b = file.tensor("b.weight");
  EXPECT_EQ(error_of([&] { return file.read(b).size(); }), "");
  EXPECT_EQ(error_of([&] { return file.hash() == 0; }), "");
  std::filesystem::resize_file(temp.path, b.offset + 1);
  const std::string ends = temp.path.string() + ": ends at byte " + std::to_string(b.offset + 1);
  EXPECT_EQ(error_of([&] { return file.read(b).size(); }).find(ends), 0u);
  EXPECT_EQ(error_of([&] { return file.hash() == 0; }).find(ends), 0u);
  EXPECT_EQ(file.str("general.architecture"), "llama");  // what open() has read stays
}

TEST(GgufFile, HashesTheWholeFile) {
  for (const std::size_t size : {std::size_t{72}, std::size_t{9'000'001}}) {  // in one part and in several
    GgufWriter w = small();
    w.data.resize(size, 'x');
    const std::string bytes = w.bytes();
    const TempFile temp(bytes);
    EXPECT_EQ(File::open(temp.path).hash(), XXH3_64bits(bytes.data(), bytes.size()));
  }
}

// A sparse file takes no disk for gigabytes that it says it has; they must not become memory.
TEST(GgufFile, RefusesMetadataBeyondAllReason) {
  for (const std::uint32_t type : {0u, 8u}) {
    GgufWriter w;
    w.array("huge", type, type == 8 ? 1 : std::uint64_t{1} << 40,
            type == 8 ? GgufWriter::raw(std::uint64_t{1} << 40) : "");
    const TempFile temp(w.bytes());
    std::filesystem::resize_file(temp.path, std::uint64_t{1} << 41);
    const std::string message = error_of([&] { return File::open(temp.path); });
    EXPECT_NE(message.find("'huge'"), std::string::npos) << message;
    EXPECT_NE(message.find("256 MiB"), std::string::npos) << message;
  }
}

TEST(GgufFile, MessagesHaveNothingThatATerminalObeys) {
  const std::string name = "\x1b[31m\x07\xc2\x9b\xff\xe2\x80\xae\\\xe5\x90\x8d";
  expect_refused(small().str("general.alignment", name).bytes(),
                 {"'\\x1b[31m\\x07\\xc2\\x9b\\xff\\xe2\\x80\\xae\\\\\xe5\x90\x8d'"});
  expect_refused(small().tensor(name, {1}, 99, 0).bytes(), {"tensor '\\x1b[31m"});
  expect_refused(small().entry(name, 77, "").bytes(), {"metadata key '\\x1b[31m"});
}

/// Opens a file with these metadata keys and tensors of these names, and says how long that took.
std::chrono::duration<double> time_to_open(const std::vector<std::string>& names) {
  GgufWriter w;
  for (std::size_t i = 0; i < names.size(); ++i) w.u32(names[i], 1).tensor(names[i], {1}, 0, i * 32);
  w.data.resize(names.size() * 32);
  const TempFile temp(w.bytes());
  const auto begin = std::chrono::steady_clock::now();
  const File file = File::open(temp.path);
  for (const std::string& name : names) EXPECT_TRUE(file.has(name) && file.find_tensor(name) != nullptr);
  return std::chrono::steady_clock::now() - begin;
}

// 1.7 MB in all: quadratic time would be seconds.
TEST(GgufFile, NamesThatCollideInTheLibrarysHashAreAsFastAsOthers) {
  constexpr std::size_t kNames = 20000;
  const auto colliding = testing::colliding_strings(kNames);
  ASSERT_TRUE(testing::collide(colliding));
  EXPECT_LT(time_to_open(colliding),
            5 * time_to_open(testing::other_strings(kNames)) + std::chrono::duration<double>(0.3));
}

TEST(GgufFile, RefusesAnEmptyFile) { expect_refused("", {"is empty"}); }

TEST(GgufFile, RefusesOtherFormats) {
  GgufWriter w = small();
  w.magic = "PK\x03\x04";
  expect_refused(w.bytes(), {"is not a GGUF file", "PK\\x03\\x04", "expected 'GGUF'"});
}

TEST(GgufFile, RefusesBigEndian) {
  GgufWriter w = small();
  w.version = 0x03000000;
  expect_refused(w.bytes(), {"big-endian", "version 3"});
  w.magic = "FUGG";
  expect_refused(w.bytes(), {"big-endian", "FUGG"});
}

TEST(GgufFile, RefusesOtherVersions) {
  for (const std::uint32_t version : {0u, 1u, 4u}) {
    GgufWriter w = small();
    w.version = version;
    expect_refused(w.bytes(),
                   {"version " + std::to_string(version) + " is not supported", "expected 2 or 3"});
  }
}

TEST(GgufFile, RefusesDuplicates) {
  expect_refused(small().u32("eps", 1).bytes(), {"metadata key 'eps' occurs twice"});
  expect_refused(small().tensor("a.weight", {1}, 0, 0).bytes(), {"tensor 'a.weight' occurs twice"});
}

TEST(GgufFile, RefusesEmptyNames) {
  expect_refused(small().u32("", 1).bytes(), {"metadata entry 6", "key is empty"});
  expect_refused(small().tensor("", {1}, 0, 0).bytes(), {"tensor 2", "name is empty"});
}

TEST(GgufFile, RefusesDataPastTheEnd) {
  const auto past = [](std::uint64_t extent, std::uint64_t offset) {
    return small().tensor("far", {extent}, 0, offset).bytes();
  };
  expect_refused(past(3, 64),
                 {"tensor 'far'", "12 bytes at offset 64", "past the end of the file", "72 bytes"});
  expect_refused(past(1, 96), {"tensor 'far'", "offset 96"});
  expect_refused(past(1, kHuge & ~31u), {"tensor 'far'", "past the end"});
  expect_refused(past(1ull << 62, 64), {"tensor 'far'", "more than 2^64"});
  expect_refused(past((1ull << 62) - 1, 64), {"tensor 'far'", "18446744073709551612 bytes"});
}

TEST(GgufFile, AcceptsDataUpToTheLastByte) {
  GgufWriter w = small();
  w.data.resize(100);
  EXPECT_EQ(open_error(w.tensor("last", {1}, 0, 96).bytes()), "");
}

TEST(GgufFile, RefusesOverlappingTensors) {
  expect_refused(small().tensor("c", {2}, 1, 0).bytes(), {"'a.weight'", "'c'", "overlap"});
}

TEST(GgufFile, RefusesTensorTypesThatAreNone) {
  for (const std::uint32_t type : {43u, 0xffffffffu}) {
    expect_refused(small().tensor("odd", {32}, type, 0).bytes(),
                   {"tensor 'odd'", "type " + std::to_string(type) + " is unknown", "0 to 42"});
  }
  expect_refused(small().tensor("odd", {32}, 31, 0).bytes(),
                 {"tensor 'odd'", "type Q4_0_4_4 (31) is no longer part of GGUF"});
}

TEST(GgufFile, RefusesPartialBlocks) {
  expect_refused(small().tensor("odd", {33}, 3, 0).bytes(), {"'odd'", "extent 33", "multiple of 32", "Q4_1"});
  // The whole is a multiple of the block, its rows are not.
  expect_refused(small().tensor("odd", {16, 2}, 8, 0).bytes(), {"'odd'", "extent 16", "Q8_0"});
}

TEST(GgufFile, RefusesBadShapes) {
  expect_refused(small().tensor("flat", {}, 0, 0).bytes(), {"'flat'", "0 dimensions", "1 to 4"});
  expect_refused(small().tensor("deep", {1, 1, 1, 1, 1}, 0, 0).bytes(), {"'deep'", "5 dimensions"});
  expect_refused(small().tensor("none", {4, 0}, 0, 0).bytes(), {"'none'", "extents is 0"});
  expect_refused(small().tensor("wide", {1ull << 32, 1ull << 32}, 0, 0).bytes(), {"'wide'", "64 bits"});
}

TEST(GgufFile, RefusesMisalignedData) {
  expect_refused(small().tensor("odd", {1}, 0, 68).bytes(), {"'odd'", "offset 68", "alignment 32"});
}

TEST(GgufFile, UsesTheFilesAlignment) {
  GgufWriter w;
  w.alignment = 8;
  w.u32("general.alignment", 8).tensor("a", {1}, 0, 8).data = std::string(12, 'x');
  EXPECT_EQ(open_error(w.bytes()), "");
}

TEST(GgufFile, RefusesBadAlignment) {
  for (const std::uint32_t alignment : {0u, 1u, 4u, 24u, 33u}) {
    expect_refused(small().u32("general.alignment", alignment).bytes(),
                   {"'general.alignment' is u32 " + std::to_string(alignment), "power of two"});
  }
  expect_refused(small().str("general.alignment", "32").bytes(), {"'general.alignment' is string '32'"});
  // Allowed, but the data section would begin far behind the end.
  GgufWriter w;
  w.u32("general.alignment", 1u << 31).tensor("a", {1}, 0, 0);
  expect_refused(w.bytes(), {"'a'", "past the end of the file", "0 bytes"});
}

TEST(GgufFile, RefusesStringsPastTheEnd) {
  for (const std::uint64_t length : {std::uint64_t{1000}, kHuge, ~std::uint64_t{0}}) {
    expect_refused(small().entry("long", 8, GgufWriter::raw(length) + "abc").bytes(),
                   {"'long'", "takes " + std::to_string(length) + " bytes"});
  }
  GgufWriter w;
  w.metadata_count = 1;
  w.data = GgufWriter::raw(kHuge) + std::string(64, 'k');
  w.alignment = 1;
  expect_refused(w.bytes(), {"metadata entry 0", "key"});
}

TEST(GgufFile, RefusesArraysPastTheEnd) {
  for (const std::uint64_t count :
       {std::uint64_t{1000}, kHuge, std::uint64_t{1} << 61, std::uint64_t{1} << 62}) {
    for (const std::uint32_t type : {0u, 4u, 7u, 8u, 10u}) {
      expect_refused(small().array("many", type, count, "").bytes(),
                     {"'many'", std::to_string(count) + " values"});
    }
  }
  // The strings' lengths are there, one of them leads out of the file.
  expect_refused(small().array("many", 8, 2, GgufWriter::string("ok") + GgufWriter::raw(kHuge)).bytes(),
                 {"'many'"});
}

TEST(GgufFile, RefusesNestedArrays) {
  expect_refused(small().array("nested", 9, 1, "").bytes(), {"'nested'", "array of arrays"});
}

TEST(GgufFile, RefusesUnknownValueTypes) {
  expect_refused(small().entry("odd", 13, "1234").bytes(), {"'odd'", "value type 13"});
  expect_refused(small().array("odd", 77, 1, "1234").bytes(), {"'odd'", "array element type 77"});
}

TEST(GgufFile, RefusesBooleansThatAreNeither) {
  expect_refused(small().entry("maybe", 7, "\x02").bytes(), {"'maybe'", "value 2", "0 or 1"});
}

TEST(GgufFile, RefusesImpossibleCounts) {
  for (const std::uint64_t count : {std::uint64_t{1000}, kHuge, ~std::uint64_t{0}}) {
    GgufWriter w = small();
    w.tensor_count = count;
    expect_refused(w.bytes(), {"holds " + std::to_string(count) + " tensors"});
    w = small();
    w.metadata_count = count;
    expect_refused(w.bytes(), {"holds " + std::to_string(count) + " metadata entries"});
  }
}

TEST(GgufFile, RefusesEveryTruncation) {
  const std::string whole = small().bytes();
  ASSERT_EQ(open_error(whole), "");
  for (std::size_t length = 0; length < whole.size(); ++length) {
    EXPECT_NE(open_error(whole.substr(0, length)), "")
        << "opened with " << length << " of " << whole.size() << " bytes";
  }
}

/// Reads everything that a file gives out.
void read_all(const File& file) {
  for (const auto& tensor : file.tensors()) {
    ASSERT_LE(tensor.offset + tensor.bytes, file.size());
    ASSERT_EQ(tensor.bytes,
              tensor.elements() / gguf::block_elements(tensor.type) * gguf::block_bytes(tensor.type));
    ASSERT_EQ(file.read(tensor).size(), tensor.bytes);
  }
  for (const auto& [key, value] : file.metadata()) {
    const auto try_it = [&](auto f) { (void)error_of([&] { return f(), 0; }); };
    try_it([&] { (void)file.u32(key); });
    try_it([&] { (void)file.f32(key); });
    try_it([&] { (void)file.str(key); });
    try_it([&] { (void)file.boolean_or(key, false); });
    try_it([&] { (void)file.strings(key); });
    try_it([&] { (void)file.i32s(key); });
    try_it([&] { (void)file.f32s(key); });
  }
}

TEST(GgufFile, OpensARealModel) {
  const char* path = std::getenv("M40LLM_MODEL");
  if (path == nullptr)
    GTEST_SKIP() << "M40LLM_MODEL is not set (the path of SmolLM2-135M-Instruct.Q4_1.gguf)";
  const File file = File::open(path);
  EXPECT_EQ(file.version(), 3u);
  EXPECT_EQ(file.str("general.architecture"), "llama");
  EXPECT_EQ(file.u32("llama.block_count"), 30u);
  EXPECT_EQ(file.tensors().size(), 272u);
  const auto& embedding = file.tensor("token_embd.weight");
  EXPECT_EQ(embedding.type, TensorType::q8_0);
  EXPECT_EQ(embedding.shape, (std::vector<std::uint64_t>{576, 49152}));
  read_all(file);
}

}  // namespace
}  // namespace m40llm
