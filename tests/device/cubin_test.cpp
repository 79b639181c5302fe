#include "kernels/image/cubin.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <span>
#include <string>
#include <vector>

#include "engine/error.hpp"
#include "tests/device/kernel_project.hpp"

namespace m40llm::image {
namespace {

constexpr const char* kKernels = R"(
extern "C" __global__ void copies(const float* x, float* y) { y[threadIdx.x] = x[threadIdx.x]; }
extern "C" __global__ void shares(const float* x, float* y) {
  __shared__ float row[300];
  row[threadIdx.x] = x[threadIdx.x];
  __syncthreads();
  y[threadIdx.x] = row[299 - threadIdx.x];
}
)";

// The tool refuses it for sm_52 and compiles it for other archs.
constexpr const char* kLocal = R"(
extern "C" __global__ void indexes(const float* x, const int* at, float* y) {
  float own[64];
  for (int i = 0; i < 64; i++) own[at[i]] = x[i];
  for (int i = 0; i < 64; i++) y[i] = own[at[64 + i]];
}
)";

std::vector<std::byte> compile_for(const std::string& arch, const char* text = kKernels) {
  const KernelProject project;
  project.write("kernels/k.cu", text);
  const Outcome outcome = project.compile("kernels/k.cu", "--arch " + arch);
  EXPECT_EQ(outcome.exit_code, 0) << outcome.text;
  const std::string cubin = read_file(project.root() / ("out/k." + arch + ".cubin"));
  const auto bytes = std::as_bytes(std::span(cubin));
  return {bytes.begin(), bytes.end()};
}

class Cubin : public testing::TestWithParam<const char*> {};

TEST_P(Cubin, HoldsWhatEachKernelNeeds) {
  const std::vector<CubinKernel> kernels = read_cubin(compile_for(GetParam()));
  ASSERT_EQ(kernels.size(), 2u);
  EXPECT_EQ(kernels[0].name, "copies");
  EXPECT_EQ(kernels[0].static_shared_bytes, 0);
  EXPECT_EQ(kernels[0].frame_bytes, 0);
  EXPECT_EQ(kernels[1].name, "shares");
  EXPECT_EQ(kernels[1].static_shared_bytes, 300 * 4);
  EXPECT_EQ(kernels[1].frame_bytes, 0);
  for (const CubinKernel& kernel : kernels) {
    EXPECT_GE(kernel.registers, 4) << kernel.name;
    EXPECT_LE(kernel.registers, 64) << kernel.name;
  }
}

// sm_90 puts what the driver reserves into the same section.
INSTANTIATE_TEST_SUITE_P(Archs, Cubin, testing::Values("sm_52", "sm_75", "sm_90"),
                         [](const auto& info) { return info.param; });

TEST(CubinReader, SeesLocalMemory) {
  for (const char* arch : {"sm_75", "sm_90"}) {
    const std::vector<CubinKernel> kernels = read_cubin(compile_for(arch, kLocal));
    ASSERT_EQ(kernels.size(), 1u);
    EXPECT_EQ(kernels[0].frame_bytes, 64 * 4) << arch;
    EXPECT_EQ(kernels[0].static_shared_bytes, 0) << arch;
  }
}

TEST(CubinReader, RefusesAFileCutOffAnywhere) {
  const std::vector<std::byte> cubin = compile_for("sm_52");
  const std::span<const std::byte> bytes = cubin;
  ASSERT_NO_THROW(read_cubin(bytes));
  for (std::size_t size = 0; size < bytes.size(); ++size) {
    // Of the very size, so that a sanitizer sees a read past the end.
    const std::vector<std::byte> cut(bytes.begin(), bytes.begin() + static_cast<std::ptrdiff_t>(size));
    EXPECT_THROW(read_cubin(cut), std::runtime_error) << size << " of " << bytes.size() << " bytes";
  }
}

TEST(CubinReader, RefusesASectionThatReachesPastTheEnd) {
  const std::vector<std::byte> cubin = compile_for("sm_52");
  const auto word = [&]<class Word>(std::size_t offset, Word) {
    Word value;
    std::memcpy(&value, cubin.data() + offset, sizeof value);
    return value;
  };
  // ELF-64: the section headers' offset and number, and a section's type, offset and size.
  const auto headers = word(40, std::uint64_t{});
  const auto count = word(60, std::uint16_t{});
  int changed_sections = 0;
  for (std::size_t i = 0; i < count; ++i) {
    const std::size_t header = headers + i * 64;
    const auto type = word(header + 4, std::uint32_t{});
    if (type == 0 || type == 8) continue;  // take no room in the file
    std::vector<std::byte> changed = cubin;
    // More than there is, of a size that every table of fixed entries would take.
    const std::uint64_t size = (cubin.size() - word(header + 24, std::uint64_t{})) / 24 * 24 + 24;
    std::memcpy(changed.data() + header + 32, &size, sizeof size);
    try {
      read_cubin(changed);
      ADD_FAILURE() << "section " << i << " was read";
    } catch (const std::runtime_error& error) {
      EXPECT_NE(std::string(error.what()).find("section " + std::to_string(i)), std::string::npos)
          << error.what();
    }
    ++changed_sections;
  }
  EXPECT_GT(changed_sections, 5);
}

TEST(CubinReader, RefusesARecordThatReachesPastTheEnd) {
  std::vector<std::byte> cubin = compile_for("sm_52");
  // Of format 4, attribute 0x2f and 8 bytes: a kernel's registers.
  constexpr std::byte kRecord[] = {std::byte{4}, std::byte{0x2f}, std::byte{8}, std::byte{0}};
  const auto at = std::ranges::search(cubin, kRecord).begin();
  ASSERT_NE(at, cubin.end());
  at[3] = std::byte{0xff};
  try {
    read_cubin(cubin);
    FAIL() << "a record of 65288 bytes was read";
  } catch (const std::runtime_error& error) {
    EXPECT_STREQ(error.what(), "not a valid cubin: .nv.info ends within a record");
  }
}

TEST(CubinReader, SurvivesAnyByteChanged) {
  const std::vector<std::byte> cubin = compile_for("sm_52");
  int refused = 0;
  for (std::size_t i = 0; i < cubin.size(); ++i) {
    for (const auto mask : {std::byte{0xff}, std::byte{0x80}, std::byte{0x01}}) {
      std::vector<std::byte> changed = cubin;
      changed[i] ^= mask;
      try {
        for (const CubinKernel& kernel : read_cubin(changed)) ASSERT_GT(kernel.registers, 0);
      } catch (const std::runtime_error&) {
        ++refused;
      }
    }
  }
  EXPECT_GT(refused, 0);
}

TEST(CubinReader, RefusesWhatIsNoCubin) {
  EXPECT_THROW(read_cubin({}), std::runtime_error);
  const std::vector<std::byte> cubin = compile_for("sm_52");
  const struct {
    std::size_t at;
    std::byte value;
    const char* message;
  } others[] = {{0, std::byte{'E'}, "no ELF-64"},
                {4, std::byte{1}, "no ELF-64"},                    // of 32 bits
                {5, std::byte{2}, "no ELF-64 little-endian"},      // big-endian
                {18, std::byte{62}, "machine 62, expected 190"}};  // x86-64
  for (const auto& other : others) {
    std::vector<std::byte> elf = cubin;
    elf[other.at] = other.value;
    try {
      read_cubin(elf);
      ADD_FAILURE() << other.message;
    } catch (const std::runtime_error& error) {
      EXPECT_NE(std::string(error.what()).find(other.message), std::string::npos) << error.what();
    }
  }
}

}  // namespace
}  // namespace m40llm::image
