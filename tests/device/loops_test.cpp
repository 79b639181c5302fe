#include "kernels/image/loops.hpp"

#include <gtest/gtest.h>

#include <cstdint>
#include <cstring>
#include <initializer_list>
#include <string>
#include <vector>

#include "kernels/image/cubin.hpp"
#include "tests/device/kernel_project.hpp"

namespace m40llm::image {
namespace {

constexpr std::uint64_t kNop = 0x50b0000000070f00;
constexpr std::uint64_t kBranch = 0xe24000000007000f;
constexpr std::uint64_t kControl = 0xe2400ffffe87000f;  // as if it were a branch: it must not be read as one

/// Machine code: bundles of a control word and three instructions.
class Code {
 public:
  explicit Code(int n_instructions) : words_(static_cast<std::size_t>((n_instructions + 2) / 3 * 4), kNop) {
    for (std::size_t i = 0; i < words_.size(); i += 4) words_[i] = kControl;
  }
  static int address(int instruction) { return instruction / 3 * 32 + 8 + instruction % 3 * 8; }
  Code& put(int byte_address, std::uint64_t word) {
    words_.at(static_cast<std::size_t>(byte_address) / 8) = word;
    return *this;
  }
  Code& branch(int from, int to) {
    const std::int64_t distance = address(to) - (address(from) + 8);
    return put(address(from), kBranch | (static_cast<std::uint64_t>(distance) & 0xffffff) << 20);
  }
  LoopSizes main_loop() const { return image::main_loop(std::as_bytes(std::span(words_))); }

 private:
  std::vector<std::uint64_t> words_;
};

void expect(const Code& code, int inner, int outer) {
  EXPECT_EQ(code.main_loop().inner, inner);
  EXPECT_EQ(code.main_loop().outer, outer);
}

TEST(Loops, ALoopIsFromItsFirstInstructionToTheBranchBack) {
  for (int first = 0; first < 9; ++first) {
    for (int last = first + 1; last < 24; ++last) expect(Code(24).branch(last, first), last - first + 1, 0);
  }
}

TEST(Loops, ABranchAheadOrToItselfIsNoLoop) {
  expect(Code(24), 0, 0);
  expect(Code(24).branch(2, 20), 0, 0);
  expect(Code(24).branch(22, 22), 0, 0);
  // advance's end: the address is the control word's of the bundle that the branch is the first of.
  expect(Code(24).put(0x48, kBranch | std::uint64_t{0xfffff0} << 20), 0, 0);
}

TEST(Loops, TheDeepestIsTheMainOne) {
  // A longer one before it, and two in the loop around.
  expect(Code(90).branch(30, 0).branch(50, 42).branch(65, 55).branch(80, 40), 11, 41);
  // Three deep: the next one around is taken.
  expect(Code(90).branch(30, 20).branch(40, 10).branch(80, 0), 11, 31);
}

TEST(Loops, SomeBranchesBackToOnePlaceAreOneLoop) { expect(Code(60).branch(20, 10).branch(35, 10), 26, 0); }

/// Words of gate_up_f16, as nvdisasm of CUDA 12.4 reads them: 0eb0: @P0 BRA 0xd20, which is the control word of the bundle
/// that is gone to; 00f0: BRA 0xf0; 0708: @P0 SYNC.
TEST(Loops, AsTheDisassemblerReadsThem) {
  expect(Code(600).put(0xeb0, 0xe2400fffe680000f), 38, 0);
  expect(Code(600).put(0xf0, 0xe2400fffff87000f), 0, 0);
  expect(Code(600).put(0x708, 0xf0f800000000000f), 0, 0);
}

TEST(Loops, ABranchPastTheEndsIsNoLoop) {
  expect(Code(24).put(Code::address(3), kBranch | std::uint64_t{0x800000} << 20), 0, 0);
  expect(Code(24).put(Code::address(3), kBranch | std::uint64_t{0x7fffff} << 20), 0, 0);
  EXPECT_EQ(image::main_loop({}).inner, 0);
}

std::string two_loops(int n_products) {
  std::string text = R"(
extern "C" __global__ void loops(const float* x, float* y, int rows, int n) {
  for (int row = 0; row < rows; ++row) {
    float sum = 0.f;
#pragma unroll 1
    for (int i = 0; i < n; ++i) {
      const float v = x[row * n + i];
)";
  for (int i = 0; i < n_products; ++i)
    text += "      sum = __fmaf_rn(sum, v, " + std::to_string(i + 2) + ".f);\n";
  return text + "    }\n    y[row] = sum;\n  }\n}\n";
}

LoopSizes compiled(const std::string& text, const std::string& arch) {
  const KernelProject project;
  project.write("kernels/k.cu", text);
  const Outcome outcome = project.compile("kernels/k.cu", "--arch " + arch);
  EXPECT_EQ(outcome.exit_code, 0) << outcome.text;
  const std::string cubin = read_file(project.root() / ("out/k." + arch + ".cubin"));
  return read_cubin(std::as_bytes(std::span(cubin))).at(0).loop;
}

/// As nvdisasm of CUDA 12.4 shows what the pinned compiler makes: a chain of products that it may not shorten, the load, its
/// address, the count and the branch; eight products more are eight instructions more.
TEST(Loops, AKernelsLoopIsWhatTheDisassemblerShows) {
  for (const int n_products : {8, 16}) {
    const LoopSizes loop = compiled(two_loops(n_products), "sm_52");
    EXPECT_EQ(loop.inner, n_products + 7);
    EXPECT_EQ(loop.outer, n_products + 22);
  }
}

TEST(Loops, OfOtherMachineCodeNothingIsSaid) {
  for (const char* const arch : {"sm_75", "sm_90"}) {
    EXPECT_EQ(compiled(two_loops(8), arch).inner, 0) << arch;
    EXPECT_EQ(compiled(two_loops(8), arch).outer, 0) << arch;
  }
}

}  // namespace
}  // namespace m40llm::image
