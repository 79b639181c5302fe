#include "engine/model/pack.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <tuple>

#include "engine/device/open.hpp"
#include "engine/error.hpp"
#include "tests/gguf/gguf_writer.hpp"

namespace m40llm {
namespace {

using gguf::TensorType;

std::vector<std::byte> counting_bytes(std::size_t n) {
  std::vector<std::byte> bytes(n);
  for (std::size_t i = 0; i < n; ++i) bytes[i] = static_cast<std::byte>(i * 7 + 3);
  return bytes;
}

unsigned bits_at(const std::vector<std::byte>& bytes, std::size_t at) {
  return std::to_integer<unsigned>(bytes[at]) | std::to_integer<unsigned>(bytes[at + 1]) << 8;
}

TEST(Pack, PlainRowsArePaddedWithZeros) {
  for (const auto& [type, bytes] :
       {std::pair(TensorType::f32, 4U), std::pair(TensorType::f16, 2U), std::pair(TensorType::bf16, 2U)}) {
    const std::vector<std::byte> blocks = counting_bytes(3 * 33 * bytes);
    const PackedMatrix packed = pack(type, 3, 33, blocks);
    EXPECT_EQ(packed.rows, 3);
    EXPECT_EQ(packed.cols, 33);
    EXPECT_EQ(packed.stride, 64);
    EXPECT_TRUE(packed.scales.empty());
    ASSERT_EQ(packed.values.size(), 3U * 64 * bytes);
    for (std::size_t row = 0; row < 3; ++row) {
      for (std::size_t i = 0; i < 64 * bytes; ++i) {
        const std::byte want = i < 33 * bytes ? blocks[row * 33 * bytes + i] : std::byte{0};
        ASSERT_EQ(packed.values[row * 64 * bytes + i], want) << row << " " << i;
      }
    }
  }
}

TEST(Pack, Q8_0SplitsScalesAndIntegers) {
  const std::vector<std::byte> blocks = counting_bytes(2 * 3 * 34);
  const PackedMatrix packed = pack(TensorType::q8_0, 2, 96, blocks);
  EXPECT_EQ(packed.stride, 96);
  ASSERT_EQ(packed.scales.size(), 6U);
  ASSERT_EQ(packed.values.size(), 192U);
  for (std::size_t b = 0; b < 6; ++b) {
    EXPECT_EQ(packed.scales[b].bits, bits_at(blocks, b * 34));
    EXPECT_EQ(std::memcmp(packed.values.data() + b * 32, blocks.data() + b * 34 + 2, 32), 0);
  }
}

TEST(Pack, Q4_1SplitsScalesOffsetsAndNibbles) {
  const std::vector<std::byte> blocks = counting_bytes(2 * 2 * 20);
  const PackedMatrix packed = pack(TensorType::q4_1, 2, 64, blocks);
  EXPECT_EQ(packed.stride, 64);
  ASSERT_EQ(packed.scales.size(), 8U);
  ASSERT_EQ(packed.values.size(), 64U);
  for (std::size_t b = 0; b < 4; ++b) {
    EXPECT_EQ(packed.scales[2 * b].bits, bits_at(blocks, b * 20));
    EXPECT_EQ(packed.scales[2 * b + 1].bits, bits_at(blocks, b * 20 + 2));
    EXPECT_EQ(std::memcmp(packed.values.data() + b * 16, blocks.data() + b * 20 + 4, 16), 0);
  }
}

TEST(Pack, Q4_0SplitsScalesAndNibbles) {
  const std::vector<std::byte> blocks = counting_bytes(2 * 2 * 18);
  const PackedMatrix packed = pack(TensorType::q4_0, 2, 64, blocks);
  ASSERT_EQ(packed.scales.size(), 4U);
  ASSERT_EQ(packed.values.size(), 64U);
  for (std::size_t b = 0; b < 4; ++b) {
    EXPECT_EQ(packed.scales[b].bits, bits_at(blocks, b * 18));
    EXPECT_EQ(std::memcmp(packed.values.data() + b * 16, blocks.data() + b * 18 + 2, 16), 0);
  }
}

TEST(Pack, Q4_KSplitsScalesAndNibbles) {
  const std::vector<std::byte> blocks = counting_bytes(2 * 2 * 144);
  const PackedMatrix packed = pack(TensorType::q4_k, 2, 512, blocks);
  EXPECT_EQ(packed.stride, 512);
  ASSERT_EQ(packed.scales.size(), 4U * 8);
  ASSERT_EQ(packed.values.size(), 4U * 128);
  for (std::size_t b = 0; b < 4; ++b) {
    EXPECT_EQ(std::memcmp(packed.scales.data() + b * 8, blocks.data() + b * 144, 16), 0);
    EXPECT_EQ(std::memcmp(packed.values.data() + b * 128, blocks.data() + b * 144 + 16, 128), 0);
  }
}

TEST(Pack, Q5_KSplitsScalesFromFifthBitsAndNibbles) {
  const std::vector<std::byte> blocks = counting_bytes(2 * 2 * 176);
  const PackedMatrix packed = pack(TensorType::q5_k, 2, 512, blocks);
  EXPECT_EQ(packed.stride, 512);
  ASSERT_EQ(packed.scales.size(), 4U * 8);
  ASSERT_EQ(packed.values.size(), 4U * 160);
  for (std::size_t b = 0; b < 4; ++b) {
    EXPECT_EQ(std::memcmp(packed.scales.data() + b * 8, blocks.data() + b * 176, 16), 0);
    EXPECT_EQ(std::memcmp(packed.values.data() + b * 160, blocks.data() + b * 176 + 16, 160), 0);
  }
}

TEST(Pack, Q6_KTakesScalesFromBehindTheValues) {
  const std::vector<std::byte> blocks = counting_bytes(2 * 2 * 210);
  const PackedMatrix packed = pack(TensorType::q6_k, 2, 512, blocks);
  ASSERT_EQ(packed.scales.size(), 4U * 9);
  ASSERT_EQ(packed.values.size(), 4U * 192);
  for (std::size_t b = 0; b < 4; ++b) {
    EXPECT_EQ(std::memcmp(packed.values.data() + b * 192, blocks.data() + b * 210, 192), 0);
    EXPECT_EQ(std::memcmp(packed.scales.data() + b * 9, blocks.data() + b * 210 + 192, 18), 0);
  }
}

std::string message_of(TensorType type, std::size_t rows, std::size_t cols, std::size_t bytes) {
  try {
    pack(type, rows, cols, counting_bytes(bytes));
  } catch (const Error& error) {
    return error.what();
  }
  return "accepted";
}

TEST(Pack, RefusesWhatDoesNotFitNamingIt) {
  EXPECT_EQ(message_of(TensorType::q3_k, 1, 256, 110),
            "Q3_K matrix of 1 x 256: no kernel reads this type; expected F32, F16, BF16, Q8_0, Q4_1, Q4_0, "
            "Q4_K, Q5_K or Q6_K");
  EXPECT_EQ(message_of(TensorType::q8_0, 1, 33, 34),
            "Q8_0 matrix of 1 x 33: the columns must be a multiple of 32");
  EXPECT_EQ(message_of(TensorType::f32, 2, 3, 20), "F32 matrix of 2 x 3: 20 bytes given, 24 expected");
  EXPECT_EQ(message_of(TensorType::q4_1, 2, 32, 41), "Q4_1 matrix of 2 x 32: 41 bytes given, 40 expected");
  EXPECT_NE(message_of(TensorType::f32, 0, 3, 0).find("0 x 3: rows and columns in"), std::string::npos);
  EXPECT_NE(message_of(TensorType::f32, std::size_t{1} << 33, 1, 4).find("rows and columns in"),
            std::string::npos);
}

/// A file of one matrix, of 9 MB or so, which is more than is read at once.
testing::GgufWriter one_matrix(TensorType type, std::uint64_t rows, std::uint64_t cols) {
  testing::GgufWriter writer;
  writer.tensor("w", {cols, rows}, static_cast<std::uint32_t>(type), 0);
  writer.data.resize(rows * cols / gguf::block_elements(type) * gguf::block_bytes(type));
  std::uint32_t state = 1;
  for (char& c : writer.data) c = static_cast<char>((state = state * 1664525 + 1013904223) >> 24);
  return writer;
}

TEST(DeviceMatrix, OfAFileIsThePackedOne) {
  const auto device = open_device({.device = "simt"});
  const auto stream = device->create_stream();
  for (const auto& [type, rows, cols] :
       {std::tuple(TensorType::f32, 1999, 1120), std::tuple(TensorType::f16, 1999, 2230),
        std::tuple(TensorType::q8_0, 1999, 4352), std::tuple(TensorType::q4_1, 1999, 7392),
        std::tuple(TensorType::q5_k, 1999, 6656), std::tuple(TensorType::q6_k, 1999, 5632),
        std::tuple(TensorType::f32, 1, 33)}) {
    const testing::TempFile temp(
        one_matrix(type, static_cast<std::uint64_t>(rows), static_cast<std::uint64_t>(cols)).bytes());
    const gguf::File file = gguf::File::open(temp.path);
    const DeviceMatrix matrix(*device, *stream, file, file.tensor("w"), "weights");
    const PackedMatrix packed = pack(type, static_cast<std::size_t>(rows), static_cast<std::size_t>(cols),
                                     file.read(file.tensor("w")));
    EXPECT_EQ(matrix.view().rows, packed.rows);
    EXPECT_EQ(matrix.view().cols, packed.cols);
    EXPECT_EQ(matrix.view().stride, packed.stride);
    std::vector<std::byte> values(packed.values.size());
    std::vector<half> scales(packed.scales.size());
    stream->copy_to_host(values.data(), matrix.view().values, values.size());
    if (!scales.empty())
      stream->copy_to_host(scales.data(), matrix.view().scales, scales.size() * sizeof(half));
    stream->synchronize();
    EXPECT_TRUE(values == packed.values) << gguf::name(type);
    EXPECT_TRUE(std::equal(scales.begin(), scales.end(), packed.scales.begin(), [](half a, half b) {
      return a.bits == b.bits;
    })) << gguf::name(type);
  }
}

TEST(DeviceMatrix, OfAFileThatIsShortenedMeanwhileIsAnErrorThatNamesIt) {
  const auto device = open_device({.device = "simt"});
  const auto stream = device->create_stream();
  const testing::TempFile temp(one_matrix(TensorType::f16, 1999, 2230).bytes());
  const gguf::File file = gguf::File::open(temp.path);
  std::filesystem::resize_file(temp.path, file.size() - 1);
  try {
    const DeviceMatrix matrix(*device, *stream, file, file.tensor("w"), "weights");
    FAIL() << "was loaded";
  } catch (const Error& error) {
    EXPECT_EQ(std::string(error.what())
                  .find(temp.path.string() + ": ends at byte " + std::to_string(file.size() - 1)),
              0u)
        << error.what();
  }
}

}  // namespace
}  // namespace m40llm
