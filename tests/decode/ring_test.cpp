#include "engine/decode/ring.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <array>

#include "engine/device/open.hpp"
#include "engine/device/simt/simt_device.hpp"
#include "kernels/simt/language.hpp"
#include "tests/decode/ring_checks.hpp"
#include "tests/message_of.hpp"
#include "tests/model/model_file.hpp"

extern "C" void ring_decode(RingDecodeParams);

namespace m40llm::testing {
namespace {

using namespace std::chrono_literals;
using ::testing::HasSubstr;

class RingOwes : public ::testing::TestWithParam<std::tuple<RingCheck, SimtOrder, unsigned>> {};

TEST_P(RingOwes, ItsHost) {
  const auto& [check, order, workers] = GetParam();
  check.run({.device = "simt",
             .simt_seed = order == SimtOrder::random ? workers : 0,
             .simt_order = order,
             .simt_workers = workers});
}

constexpr std::array kOrders{std::pair{SimtOrder::ascending, "ascending"},
                             std::pair{SimtOrder::descending, "descending"},
                             std::pair{SimtOrder::random, "random"}};
std::string name_of(const ::testing::TestParamInfo<RingOwes::ParamType>& info) {
  const auto& [check, order, workers] = info.param;
  return std::string(check.name) + "_" +
         std::ranges::find(kOrders, order, &std::pair<SimtOrder, const char*>::first)->second + "_" +
         std::to_string(workers);
}
#if defined(__SANITIZE_THREAD__)
// A check takes a minute there, and what it looks for is seen with several workers alone.
const auto kOrdersTried = ::testing::Values(SimtOrder::random);
const auto kWorkersTried = ::testing::Values(3u);
#else
const auto kOrdersTried = ::testing::Values(SimtOrder::ascending, SimtOrder::descending, SimtOrder::random);
const auto kWorkersTried = ::testing::Values(1u, 3u);
#endif
INSTANTIATE_TEST_SUITE_P(, RingOwes,
                         ::testing::Combine(::testing::ValuesIn(ring_checks()), kOrdersTried, kWorkersTried),
                         name_of);

/// A model of 67 tokens and 16 positions.
class RingTest : public ::testing::Test {
 protected:
  ~RingTest() override { substitute_kernel("ring_decode", nullptr); }
  const OpenModelFile file_{ModelFile()};
  const std::unique_ptr<Device> device_ = open_device({.device = "simt"});
  const std::unique_ptr<Stream> stream_ = device_->create_stream();
  const Llama model_{*device_, *stream_, file_.file, 16};
};

TEST_F(RingTest, RefusesWhatCannotBeAJob) {
  Ring ring(*device_, model_, {.n_blocks = 2});
  const std::vector<int> prompt{1, 2, 3};
  EXPECT_THAT(message_of([&] { ring.submit({}, 1); }), HasSubstr("the prompt is empty"));
  EXPECT_THAT(message_of([&] { ring.submit(std::vector{1, 67}, 1); }), HasSubstr("token 67"));
  EXPECT_THAT(message_of([&] { ring.submit(prompt, 0); }), HasSubstr("0 tokens to generate"));
  EXPECT_THAT(message_of([&] { ring.submit(prompt, 14); }), HasSubstr("14 to generate do not fit"));
  EXPECT_THAT(message_of([&] { ring.submit(prompt, 1, std::vector<int>(kRingStops + 1)); }),
              HasSubstr("17 tokens that end a job; there is room for 16"));
  EXPECT_THAT(message_of([&] { ring.cancel(5); }), HasSubstr("job 5 is not there to be cancelled"));
  EXPECT_EQ(ring.submit(prompt, 13), 0u);
  ring.stop();
  EXPECT_THAT(message_of([&] { ring.submit(prompt, 1); }), HasSubstr("the ring has ended"));
}

TEST_F(RingTest, RefusesOptionsThatCannotBe) {
  const auto refused = [&](const RingOptions& options) {
    return message_of<std::exception>([&] { Ring(*device_, model_, options); });
  };
  EXPECT_THAT(refused({.n_jobs = 3}), HasSubstr("room for 3 jobs; expected a power of two"));
  EXPECT_THAT(refused({.n_results = 0}), HasSubstr("room for 0 results"));
  EXPECT_THAT(refused({.n_blocks = -1}), HasSubstr("-1 blocks"));
  EXPECT_THAT(refused({.n_blocks = 49}), HasSubstr("only 48 are on the device at once"));
}

TEST_F(RingTest, IsOneLaunch) {
  const DeviceCounters before = device_->counters();
  {
    Ring ring(*device_, model_, {.n_blocks = 2});
    for (int job = 0; job < 3; ++job) {
      ring.submit(std::vector{1, 2}, 3);
      for (int i = 0; i < 4; ++i) EXPECT_TRUE(ring.wait(10s));
    }
  }
  EXPECT_EQ(device_->counters().launches - before.launches, 1u);
}

/// A block that does not come is no hang: the others give up, and say before what.
TEST_F(RingTest, ABlockThatLeavesIsAFaultThatIsTold) {
  substitute_kernel("ring_decode", reinterpret_cast<void (*)()>(+[](RingDecodeParams p) {
                      if (simt::block_index().x != 1) ring_decode(p);
                    }));
  Ring ring(*device_, model_, {.n_blocks = 3, .looks = 3000});
  ring.submit(std::vector{1, 2}, 3);
  EXPECT_THAT(message_of<DeviceFault>([&] { ring.wait(10s); }),
              HasSubstr("kernel 'ring_decode' stood before the next step: a block waited for others"));
}

}  // namespace
}  // namespace m40llm::testing
