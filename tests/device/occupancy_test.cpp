#include "engine/device/occupancy.hpp"

#include <gtest/gtest.h>

namespace m40llm {
namespace {

Occupancy on_m40(int registers, int static_shared, unsigned block, unsigned grid,
                 unsigned dynamic_shared = 0) {
  KernelResources kernel;
  kernel.registers = registers;
  kernel.static_shared_bytes = static_shared;
  LaunchConfig launch;
  launch.grid = {grid, 1};
  launch.block = block;
  launch.shared_bytes = dynamic_shared;
  return occupancy(kGm200, kernel, launch);
}

TEST(Occupancy, FullAt32RegistersAnd256Threads) {
  const Occupancy o = on_m40(32, 0, 256, 24 * 8);
  EXPECT_EQ(o.blocks_per_sm, 8);
  EXPECT_EQ(o.warps_per_sm, 64);
  EXPECT_DOUBLE_EQ(o.occupancy, 1.0);
  EXPECT_EQ(o.limiter, Limiter::warps);
  EXPECT_EQ(o.waves, 1);
  EXPECT_DOUBLE_EQ(o.tail_fraction, 0.0);
  EXPECT_DOUBLE_EQ(o.filled, 1.0);
}

TEST(Occupancy, RegistersAreHandedOutByWarpInEights) {
  // 33 registers count as 40: 40 * 32 = 1280 a warp, 12 warps in each quarter of the SM, 48 in all, 6 blocks
  // of 8.
  const Occupancy o = on_m40(33, 0, 256, 24 * 6);
  EXPECT_EQ(o.blocks_per_sm, 6);
  EXPECT_DOUBLE_EQ(o.occupancy, 0.75);
  EXPECT_EQ(o.limiter, Limiter::registers);
  EXPECT_EQ(on_m40(40, 0, 256, 24 * 6).blocks_per_sm, 6);
  EXPECT_EQ(on_m40(41, 0, 256, 24 * 6).blocks_per_sm, 5);
}

TEST(Occupancy, SharedMemoryIsHandedOutIn256Bytes) {
  EXPECT_EQ(on_m40(16, 8192, 64, 1000).blocks_per_sm, 12);
  EXPECT_EQ(on_m40(16, 8192, 64, 1000).limiter, Limiter::shared);
  EXPECT_EQ(on_m40(16, 4370, 64, 1000).blocks_per_sm, 21);       // counts as 4608: 21.3, not 22.5
  EXPECT_EQ(on_m40(16, 4096, 64, 1000, 274).blocks_per_sm, 21);  // static and dynamic together
}

TEST(Occupancy, SmallBlocksStopAt32) {
  const Occupancy o = on_m40(16, 0, 32, 24 * 32);
  EXPECT_EQ(o.blocks_per_sm, 32);
  EXPECT_DOUBLE_EQ(o.occupancy, 0.5);
  EXPECT_EQ(o.limiter, Limiter::blocks);
}

TEST(Occupancy, WavesAndTail) {
  const Occupancy o =
      on_m40(32, 0, 256, 24 * 8 + 1);  // one block too many: a second wave that is all but empty
  EXPECT_EQ(o.waves, 2);
  EXPECT_DOUBLE_EQ(o.tail_fraction, 191.0 / 192.0);
}

TEST(Occupancy, SmallGridIsTheLimit) {
  const Occupancy o = on_m40(32, 0, 256, 24);
  EXPECT_EQ(o.limiter, Limiter::grid);
  EXPECT_EQ(o.sm_limiter, Limiter::warps);
  EXPECT_DOUBLE_EQ(o.occupancy, 1.0);
  EXPECT_DOUBLE_EQ(o.filled, 0.125);
  EXPECT_DOUBLE_EQ(o.tail_fraction, 7.0 / 8.0);
}

TEST(Occupancy, WhatDoesNotFitIsInvalid) {
  EXPECT_EQ(on_m40(32, 49153, 256, 1).limiter, Limiter::invalid);
  EXPECT_EQ(on_m40(32, 49152, 256, 1).blocks_per_sm, 2);
  EXPECT_EQ(on_m40(256, 0, 32, 1).limiter, Limiter::invalid);
  EXPECT_EQ(on_m40(32, 0, 1056, 1).limiter, Limiter::invalid);
  EXPECT_EQ(on_m40(65, 0, 1024, 1).limiter,
            Limiter::invalid);  // 72 * 1024 registers are more than the SM has
}

}  // namespace
}  // namespace m40llm
