#include <gtest/gtest.h>

#include "engine/device/cuda/cuda_device.hpp"
#include "engine/error.hpp"
#include "tests/decode/ring_checks.hpp"

/// What a ring owes its host, on a GPU: as what an M40 would run, and as the GPU's own machine code.
namespace m40llm::testing {
namespace {

class RingOwes : public ::testing::TestWithParam<std::tuple<RingCheck, const char*>> {};

TEST_P(RingOwes, ItsHost) {
  try {
    cuda::list_gpus();
  } catch (const Error& error) {
    GTEST_SKIP() << error.what();
  }
  const auto& [check, image] = GetParam();
  check.run({.device = "cuda", .image = image});
}

INSTANTIATE_TEST_SUITE_P(OnAGpu, RingOwes,
                         ::testing::Combine(::testing::ValuesIn(ring_checks()),
                                            ::testing::Values("compute_52", "auto")),
                         [](const auto& info) {
                           return std::string(std::get<0>(info.param).name) + "_" + std::get<1>(info.param);
                         });

}  // namespace
}  // namespace m40llm::testing
