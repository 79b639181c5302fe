// The SIMT device as a device: the semantics of collectives and barriers, and that no order of threads shows
// in results.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <bit>
#include <stdexcept>
#include <string>
#include <vector>

#include "engine/device/image.hpp"
#include "kernels/chip.hpp"
#include "tests/simt/kernels_under_test.hpp"

namespace m40llm {
namespace {

struct Way {
  SimtOrder order;
  unsigned workers;
  std::uint64_t seed;
};

const Way kWays[] = {{SimtOrder::ascending, 1, 0}, {SimtOrder::descending, 1, 0},
                     {SimtOrder::ascending, 2, 0}, {SimtOrder::descending, 4, 0},
                     {SimtOrder::random, 1, 1},    {SimtOrder::random, 2, 2},
                     {SimtOrder::random, 3, 3},    {SimtOrder::random, 4, 4}};

class SimtScheduler : public testing::TestWithParam<Way> {
 protected:
  FaultBench bench{GetParam().order, GetParam().workers, GetParam().seed};
  std::vector<float> out(std::size_t n) {
    std::vector<float> host(n);
    bench.stream->copy_to_host(host.data(), bench.out.data(), n * sizeof(float));
    bench.stream->synchronize();
    return host;
  }
};

TEST_P(SimtScheduler, CollectivesComputeWhatTheyStandFor) {
  std::vector<float> in(64);
  for (std::size_t i = 0; i < 64; ++i)
    in[i] = (i % 3 == 0 ? -1.f : 1.f) * (0.1f + 1.7f * static_cast<float>(i * i % 31));
  bench.in.upload(*bench.stream, in);
  bench.launch("collectives", collectives, {{3}, 64}, bench.params(0));
  const std::vector<float> got = out(3 * 64 * 8);
  float sums[2];
  for (std::size_t warp = 0; warp < 2; ++warp) {
    std::vector<float> t(in.begin() + 32 * static_cast<std::ptrdiff_t>(warp),
                         in.begin() + 32 * static_cast<std::ptrdiff_t>(warp + 1));
    for (std::size_t offset = 16; offset != 0; offset /= 2) {
      for (std::size_t i = 0; i < offset; ++i) t[i] += t[i + offset];
    }
    sums[warp] = t[0];
  }
  for (std::size_t thread = 0; thread < 3 * 64; ++thread) {
    const std::size_t lane = thread % 32;
    const float* const warp = in.data() + thread % 64 / 32 * 32;
    const float* const mine = got.data() + 8 * thread;
    unsigned votes = 0;
    for (unsigned i = 0; i < 32; ++i) votes |= warp[i] > 0.f ? 1u << i : 0u;
    EXPECT_EQ(mine[0], sums[thread % 64 / 32]);
    EXPECT_EQ(mine[1], *std::max_element(warp, warp + 32));
    EXPECT_EQ(mine[2], warp[31 - lane]);
    EXPECT_EQ(mine[3], warp[lane ^ 5]);
    EXPECT_EQ(std::bit_cast<unsigned>(mine[4]), votes);
    EXPECT_EQ(mine[5], warp[lane / 8 * 8 + (lane + 1) % 8]);
    EXPECT_EQ(mine[6], static_cast<float>(lane ^ 1));
    EXPECT_EQ(mine[7], sums[0] + sums[1]);
  }
}

TEST_P(SimtScheduler, WarpsThatHaveReturnedCountAsArrived) {
  bench.launch("returning_warps", returning_warps, {{5}, 64}, bench.params(0));
  const std::vector<float> got = out(5 * 64);
  for (std::size_t i = 0; i < got.size(); ++i) EXPECT_EQ(got[i], i % 64 < 32 ? 0.f : 1.f);
}

TEST_P(SimtScheduler, BlocksOfAResidentGridMeet) {
  bench.launch("many_grid_barriers", many_grid_barriers, {{24}, 256, 0, true}, bench.params(0));
  EXPECT_THAT(out(24 * 256), testing::Each(20.f));
}

TEST_P(SimtScheduler, SpinsEndWhenTheirWordIsStored) {
  bench.launch("spin_holds_own_warp", spin_holds_own_warp, {{1}, 64}, bench.params(0));
  bench.reset();
  bench.launch("endless_spin", endless_spin, {{1}, 64}, bench.params(0));
  bench.reset();
  bench.launch("relaxed_store", relaxed_store, {{2}, 32, 0, true}, bench.params(0));
  bench.stream->synchronize();
}

TEST_P(SimtScheduler, LaunchesOfAStreamRunInOrder) {
  for (int i = 0; i < 1000; ++i) bench.launch("add_one", add_one, {{2}, 32}, bench.params(0));
  EXPECT_THAT(bench.data.download(*bench.stream), testing::Each(1000.f));
}

TEST_P(SimtScheduler, StaysUsableAfterAFault) {
  for (int i = 0; i < 3; ++i) {
    bench.reset();
    bench.launch("barrier_part_of_warp", barrier_part_of_warp, {{4}, 64}, bench.params(1));
    bench.launch("shuffle_missing_lane", shuffle_missing_lane, {{4}, 32}, bench.params(1));
    bench.launch("endless_spin", endless_spin, {{4}, 64}, bench.params(1));
    EXPECT_THROW(bench.stream->synchronize(), KernelFault);
    bench.launch("add_one", add_one, {{2}, 32}, bench.params(0));
    EXPECT_THAT(bench.data.download(*bench.stream), testing::Each(1.f));
  }
}

std::string name_of(const testing::TestParamInfo<Way>& info) {
  constexpr std::array kOrders = {"ascending", "descending", "random"};
  return kOrders.at(static_cast<std::size_t>(info.param.order)) + std::to_string(info.param.workers);
}
INSTANTIATE_TEST_SUITE_P(Ways, SimtScheduler, testing::ValuesIn(kWays), name_of);

TEST(SimtStreams, RunBesideEachOtherAndWaitForEvents) {
  FaultBench bench(SimtOrder::ascending, 1);
  const auto other = bench.device->create_stream();
  const auto event = bench.device->create_event();
  bench.stream->synchronize();
  // Ends only if the second stream runs while the first waits for a word that the second stores.
  FaultParams p = bench.params(1);
  bench.launch("wait_for_word", wait_for_word, {{1}, 32}, p);
  bench.stream->record(*event);
  other->launch(Kernel<FaultParams>{"store_word", store_word}, {{1}, 32}, p);
  other->wait(*event);
  other->launch(Kernel<FaultParams>{"add_one", add_one}, {{1}, 32}, p);
  other->synchronize();
  bench.stream->synchronize();
  EXPECT_EQ(bench.data.download(*bench.stream)[0], 4.f);
}

TEST(SimtStreams, AWaitIsForTheRecordingAtItsCall) {
  FaultBench bench(SimtOrder::ascending, 1);
  const auto other = bench.device->create_stream();
  const auto event = bench.device->create_event();
  bench.stream->synchronize();
  const Kernel<FaultParams> kernel{"add_one", add_one};
  for (int i = 0; i < 200; ++i) {  // one event, recorded anew long before the streams get there
    bench.stream->launch(kernel, {{1}, 64}, bench.params(0));
    bench.stream->record(*event);
    other->wait(*event);
    other->launch(kernel, {{1}, 64}, bench.params(0));
    other->record(*event);
    bench.stream->wait(*event);
  }
  EXPECT_THAT(bench.data.download(*bench.stream), testing::Each(400.f));
}

TEST(SimtStreams, EventsTakeTimes) {
  FaultBench bench;
  const auto first = bench.device->create_event();
  const auto second = bench.device->create_event();
  bench.stream->record(*first);
  bench.launch("add_one", add_one, {{1}, 64}, bench.params(0));
  bench.stream->record(*second);
  second->synchronize();
  EXPECT_GT(second->elapsed_us(*first), 0.0);
}

TEST(SimtLimits, LaunchesOverThoseOfSm52AreRefused) {
  FaultBench bench;
  const auto refused = [&](const LaunchConfig& config) {
    try {
      bench.launch("add_one", add_one, config, bench.params(0));
    } catch (const LaunchRefused& refusal) {
      return std::string(refusal.what()).starts_with("kernel 'add_one' (grid ");
    }
    return false;
  };
  EXPECT_TRUE(refused({{1}, 0}));
  EXPECT_TRUE(refused({{1}, 48}));
  EXPECT_TRUE(refused({{1}, 1056}));
  EXPECT_TRUE(refused({{0}, 32}));
  EXPECT_TRUE(refused({{1, 65536}, 32}));
  EXPECT_TRUE(refused({{0x80000000u}, 32}));
  EXPECT_TRUE(refused({{0x40000000u, 4}, 32, 0, true})) << "2^32 blocks";
  EXPECT_TRUE(refused({{1}, 32, 48 * 1024 + 4}));
  EXPECT_TRUE(refused({{24 * 8 + 1}, 256, 0, true}));
  EXPECT_TRUE(refused({{24 * 2 + 1}, 256, 40 * 1024, true}));
  EXPECT_FALSE(refused({{2}, 32, 48 * 1024}));
}

TEST(SimtLimits, CountTheRegistersAndSharedMemoryOfTheMachineCode) {
  FaultBench bench;
  const auto nothing = [](FaultParams) {};
  const auto refusal = [&](const std::string& name, const LaunchConfig& config) -> std::string {
    try {
      bench.stream->launch(Kernel<FaultParams>{name.c_str(), nothing}, config, bench.params(0));
    } catch (const LaunchRefused& refused) {
      return refused.what();
    }
    return "";
  };
  std::size_t by_registers = 0;
  std::size_t by_shared = 0;
  for (const Image& image : images()) {
    if (image.arch != kGm200.arch) continue;
    for (const KernelResources& kernel : image.kernels) {
      const std::string name(kernel.name);
      if (kernel.registers > 32) {  // 65,536 of them are less than 2,048 threads need
        ++by_registers;
        EXPECT_EQ(refusal(name, {{24 * 8}, 256, 0, true}).find("kernel '" + name + "' (grid 192x1, "), 0u);
      } else {
        EXPECT_EQ(refusal(name, {{24 * 8}, 256, 0, true}), "");
      }
      if (kernel.static_shared_bytes == 0) continue;
      ++by_shared;
      const unsigned rest = 48 * 1024 - static_cast<unsigned>(kernel.static_shared_bytes);
      EXPECT_EQ(refusal(name, {{1}, 32, rest}), "");
      EXPECT_THAT(refusal(name, {{1}, 32, rest + 4}), testing::HasSubstr("more than the 49152 a block has"));
    }
  }
  EXPECT_GT(by_registers, 0u);
  EXPECT_GT(by_shared, 0u);
  bench.stream->synchronize();
}

TEST(SimtLimits, AllThreadsOfAnM40AreResident) {
  FaultBench bench;
  const Buffer<float> out(*bench.device, 48 * 1024, "out");
  FaultParams p = bench.params(0);
  p.out = out.data();
  bench.launch("many_grid_barriers", many_grid_barriers, {{48}, 1024, 0, true}, p);
#if defined(__SANITIZE_THREAD__)
  const auto reports = bench.reports();
  ASSERT_FALSE(reports.empty());
  EXPECT_EQ(reports[0].fault, simt::Fault::device_failed);
  EXPECT_EQ(reports[0].text, "ThreadSanitizer takes no more than 8000 waiting threads at once");
#else
  EXPECT_THAT(out.download(*bench.stream), testing::Each(20.f));
#endif
}

[[noreturn]] void throwing(FaultParams) { throw std::runtime_error("no memory, say"); }

TEST(SimtLimits, AnExceptionIsAFaultOfTheLaunch) {
  for (const unsigned workers : {1u, 4u}) {
    FaultBench bench(SimtOrder::ascending, workers);
    for (const bool resident : {false, true}) {
      bench.launch("throwing", throwing, {{24}, 64, 0, resident}, bench.params(0));
      const auto reports = bench.reports();
      ASSERT_EQ(reports.size(), 1u);
      EXPECT_EQ(reports[0].fault, simt::Fault::device_failed);
      EXPECT_EQ(reports[0].kernel, "throwing");
      EXPECT_EQ(reports[0].text, "no memory, say");
      bench.reset();
      bench.launch("add_one", add_one, {{2}, 32}, bench.params(0));
      EXPECT_THAT(bench.data.download(*bench.stream), testing::Each(1.f));
    }
  }
}

}  // namespace
}  // namespace m40llm
