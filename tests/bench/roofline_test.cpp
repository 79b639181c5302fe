#include "bench/roofline.hpp"

#include <gtest/gtest.h>

#include "engine/ops/gate_up.hpp"
#include "engine/ops/gemv.hpp"
#include "engine/ops/gemv_add.hpp"
#include "engine/ops/qkv.hpp"
#include "engine/ops/rms_norm.hpp"

namespace m40llm::bench {
namespace {

Matrix matrix(Format format, int rows, int cols) { return {nullptr, nullptr, rows, cols, cols, format}; }

/// F16: a piece is 8 weights, and 8 pieces of two rows or of one are taken a round, by 32 lanes.
TEST(ProductRounds, AreThoseOfTheKernelsLoops) {
  GemvParams two{};
  two.a = matrix(Format::f16, 2047, 2048);
  const ProductRounds of_two = gemv_op(Format::f16, Activations::float32).rounds(two);
  EXPECT_EQ(of_two.weights, 2047.0 * 2048);
  EXPECT_EQ(of_two.lane_weights, 64);
  EXPECT_EQ(of_two.units, 1024);
  EXPECT_EQ(of_two.pieces, 1024 * 2);  // 256 pieces a row, 128 a round

  GemvAddParams one{};
  one.a = matrix(Format::f16, 2047, 2056);
  const ProductRounds of_one = gemv_add_op(Format::f16, Activations::float32).rounds(one);
  EXPECT_EQ(of_one.lane_weights, 64);
  EXPECT_EQ(of_one.units, 2047);
  EXPECT_EQ(of_one.pieces, 2047 * 1.125);  // 257 pieces, 256 a round by eight times 32

  GateUpParams both{};
  both.gate = both.up = matrix(Format::q4_k, 8192, 2048);
  const ProductRounds of_both = gate_up_op(Format::q4_k, Activations::float32).rounds(both);
  EXPECT_EQ(of_both.weights, 2.0 * 8192 * 2048);
  EXPECT_EQ(of_both.lane_weights, 128);
  EXPECT_EQ(of_both.units, 8192);
  EXPECT_EQ(of_both.pieces, 8192);  // 64 pieces a row, 64 a round

  QkvParams three{};
  three.width = three.stride = 2048;
  three.q = matrix(Format::q8_0, 2048, 2048);
  three.k = three.v = matrix(Format::q8_0, 512, 2048);
  const ProductRounds of_three = qkv_op(Format::q8_0, Activations::float32).rounds(three);
  EXPECT_EQ(of_three.weights, 3072.0 * 2048);
  EXPECT_EQ(of_three.units, 1536);
  EXPECT_EQ(of_three.pieces, 1536);  // 128 pieces a row, 128 a round

  EXPECT_EQ(kRmsNorm.rounds, nullptr);
}

constexpr KernelResources kKernel{.name = "k", .loop_instructions = 200, .outer_instructions = 300};

TEST(Roofline, InstructionsAreOfBothLoops) {
  const ProductRounds rounds{.weights = 1000 * 6400.0, .lane_weights = 100, .units = 1000, .pieces = 2000};
  EXPECT_EQ(issued_by_warps(kKernel, rounds), 2000 * 200 + 1000 * 100);
  EXPECT_EQ(loop_instructions_a_weight(kKernel, rounds), 2);
  EXPECT_EQ(instructions_a_weight(kKernel, rounds), 500e3 * 32 / 6400e3);
  EXPECT_EQ(loop_instructions_a_weight(kKernel, {}), 0);
  EXPECT_EQ(instructions_a_weight(kKernel, {}), 0);
}

TEST(Roofline, TheLongerOfBytesAndInstructionsIsTheTime) {
  const Roofline bytes = roofline(kGm200, kGm200Speed, 225e6, 0);
  EXPECT_DOUBLE_EQ(bytes.time_us(), 1000);
  EXPECT_FALSE(bytes.by_issue());
  // 24 SMs of four schedulers at 1114 MHz.
  const Roofline issue = roofline(kGm200, kGm200Speed, 225e3, 24 * 4 * 1114e3);
  EXPECT_DOUBLE_EQ(issue.time_us(), 1000);
  EXPECT_TRUE(issue.by_issue());
}

}  // namespace
}  // namespace m40llm::bench
