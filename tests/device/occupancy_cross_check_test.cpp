// Our occupancy against NVIDIA's calculator, cuda_occupancy.h of the pinned nvidia-cuda-runtime-cu12 wheel.
#include <climits>

#include <cuda_occupancy.h>
#include <gtest/gtest.h>

#include "engine/device/occupancy.hpp"

namespace m40llm {
namespace {

cudaOccDeviceProp gm200() {
  cudaOccDeviceProp properties;
  properties.computeMajor = 5;
  properties.computeMinor = 2;
  properties.maxThreadsPerBlock = kGm200.threads_per_block;
  properties.maxThreadsPerMultiprocessor = kGm200.warps_per_sm * 32;
  properties.regsPerBlock = kGm200.registers_per_sm;
  properties.regsPerMultiprocessor = kGm200.registers_per_sm;
  properties.warpSize = 32;
  properties.sharedMemPerBlock = static_cast<std::size_t>(kGm200.shared_bytes_per_block);
  properties.sharedMemPerMultiprocessor = static_cast<std::size_t>(kGm200.shared_bytes_per_sm);
  properties.numSms = kGm200.n_sms;
  properties.sharedMemPerBlockOptin = static_cast<std::size_t>(kGm200.shared_bytes_per_block);
  properties.reservedSharedMemPerBlock = 0;
  return properties;
}

int nvidias_blocks_per_sm(int registers, int static_shared, int dynamic_shared, int block) {
  const cudaOccDeviceProp properties = gm200();
  cudaOccFuncAttributes attributes;
  attributes.maxThreadsPerBlock = kGm200.threads_per_block;
  attributes.numRegs = registers;
  attributes.sharedSizeBytes = static_cast<std::size_t>(static_shared);
  attributes.partitionedGCConfig = PARTITIONED_GC_OFF;
  attributes.shmemLimitConfig = FUNC_SHMEM_LIMIT_DEFAULT;
  attributes.maxDynamicSharedSizeBytes = 0;
  attributes.numBlockBarriers = 1;
  const cudaOccDeviceState state;
  cudaOccResult result;
  const cudaOccError error = cudaOccMaxActiveBlocksPerMultiprocessor(
      &result, &properties, &attributes, &state, block, static_cast<std::size_t>(dynamic_shared));
  return error == CUDA_OCC_SUCCESS ? result.activeBlocksPerMultiprocessor : -1;
}

TEST(OccupancyCrossCheck, EqualsNvidiasForEveryRegisterSharedAndBlockSize) {
  int compared = 0;
  for (int registers = 1; registers <= 255; ++registers) {
    for (unsigned block = 32; block <= 1024; block += 32) {
      for (const int static_shared : {0, 1, 255, 256, 257, 4096, 12288, 24576, 24577, 49152, 49153}) {
        for (const unsigned dynamic_shared : {0U, 1024U, 5000U}) {
          KernelResources kernel;
          kernel.registers = registers;
          kernel.static_shared_bytes = static_shared;
          LaunchConfig launch;
          launch.block = block;
          launch.shared_bytes = dynamic_shared;
          const int theirs = nvidias_blocks_per_sm(registers, static_shared, static_cast<int>(dynamic_shared),
                                                   static_cast<int>(block));
          ASSERT_EQ(occupancy(kGm200, kernel, launch).blocks_per_sm, theirs)
              << registers << " registers, " << static_shared << " + " << dynamic_shared << " B shared, "
              << block << " threads";
          ++compared;
        }
      }
    }
  }
  EXPECT_EQ(compared, 255 * 32 * 11 * 3);
}

}  // namespace
}  // namespace m40llm
