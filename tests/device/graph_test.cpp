#include "engine/device/graph.hpp"

#include <gtest/gtest.h>

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "engine/device/buffer.hpp"
#include "engine/device/device.hpp"
#include "engine/device/open.hpp"
#include "kernels/residual_add.h"
#include "tests/message_of.hpp"

extern "C" void residual_add(ResidualAddParams);

/// What a graph owes whoever makes it, on the SIMT device, and on a GPU if there is one.
namespace m40llm {
namespace {

constexpr Kernel<ResidualAddParams> kAdd{"residual_add", residual_add};

class GraphTest : public testing::TestWithParam<const char*> {
 protected:
  void SetUp() override {
    try {
      device_ = open_device({.device = GetParam()});
    } catch (const Error& error) {
      GTEST_SKIP() << error.what();
    }
    stream_ = device_->create_stream();
    a_.emplace(*device_, 1, "a");
    b_.emplace(*device_, 1, "b");
    start();
  }
  void start() {
    a_->upload(*stream_, std::vector{1.f});
    b_->upload(*stream_, std::vector{1.f});
  }
  /// a += b, then b += a: another order gives another result.
  std::vector<Launch> in_turn() const {
    return {Launch(kAdd, {}, ResidualAddParams{a_->data(), b_->data(), 1}),
            Launch(kAdd, {}, ResidualAddParams{b_->data(), a_->data(), 1})};
  }
  std::vector<float> values() { return {a_->download(*stream_).front(), b_->download(*stream_).front()}; }
  std::unique_ptr<Device> device_;
  std::unique_ptr<Stream> stream_;
  std::optional<Buffer<float>> a_, b_;
};

TEST_P(GraphTest, GivesWhatItsLaunchesGive) {
  for (int i = 0; i < 3; ++i) {
    for (const Launch& launch : in_turn()) stream_->launch(launch);
  }
  const std::vector<float> expected = values();
  EXPECT_EQ(expected, (std::vector{13.f, 21.f}));
  start();
  const std::unique_ptr<Graph> graph = device_->create_graph(in_turn());
  EXPECT_EQ(values(), (std::vector{1.f, 1.f})) << "making it runs nothing";
  for (int i = 0; i < 3; ++i) stream_->launch(*graph);
  EXPECT_EQ(values(), expected);
}

TEST_P(GraphTest, StandsInTheStreamsOrder) {
  const std::unique_ptr<Graph> graph = device_->create_graph(in_turn());
  stream_->launch(*graph);                                                  // 2, 3
  stream_->launch(kAdd, {}, ResidualAddParams{a_->data(), b_->data(), 1});  // 5, 3
  stream_->launch(*graph);                                                  // 8, 11
  EXPECT_EQ(values(), (std::vector{8.f, 11.f}));
}

TEST_P(GraphTest, OutlivesTheListItWasMadeFromAndMayGoWhileItRuns) {
  std::vector<Launch> launches = in_turn();
  std::unique_ptr<Graph> graph = device_->create_graph(launches);
  launches.clear();
  stream_->launch(*graph);
  graph.reset();
  EXPECT_EQ(values(), (std::vector{2.f, 3.f}));
}

TEST_P(GraphTest, IsOneLaunchOfItsKernels) {
  const std::unique_ptr<Graph> graph = device_->create_graph(in_turn());
  EXPECT_EQ(graph->n_kernels(), 2U);
  const DeviceCounters before = device_->counters();
  stream_->launch(*graph);
  EXPECT_EQ(device_->counters().launches - before.launches, 1U);
  EXPECT_EQ(device_->counters().kernels - before.kernels, 2U);
  for (const Launch& launch : in_turn()) stream_->launch(launch);
  EXPECT_EQ(device_->counters().launches - before.launches, 3U);
  EXPECT_EQ(device_->counters().kernels - before.kernels, 4U);
}

TEST_P(GraphTest, MayHaveNoKernel) {
  const std::unique_ptr<Graph> graph = device_->create_graph({});
  stream_->launch(*graph);
  EXPECT_EQ(values(), (std::vector{1.f, 1.f}));
}

TEST_P(GraphTest, RefusesALibrarysCallByName) {
  std::vector<Launch> launches = in_turn();
  launches.emplace_back("cublasSgemv", [](Stream&) { FAIL() << "called"; });
  EXPECT_EQ(message_of<LaunchRefused>([&] { device_->create_graph(launches); }),
            "'cublasSgemv', launch 2 of 3, is a library's call; expected a kernel, which is all that a graph "
            "is made "
            "of");
}

TEST_P(GraphTest, RefusesWhatAStreamRefuses) {
  std::vector<Launch> launches = in_turn();
  launches.back().config.block = 1056;
  const std::string refusal = message_of<LaunchRefused>([&] { stream_->launch(launches.back()); });
  EXPECT_NE(refusal.find("a multiple of 32 threads, at most 1024"), std::string::npos) << refusal;
  EXPECT_EQ(message_of<LaunchRefused>([&] { device_->create_graph(launches); }), refusal);
}

TEST_P(GraphTest, IsOfOneDevice) {
  const std::unique_ptr<Device> other = open_device({.device = GetParam()});
  const std::unique_ptr<Graph> graph = other->create_graph({});
  EXPECT_THROW(stream_->launch(*graph), std::logic_error);
}

const auto kName = [](const auto& info) { return std::string(info.param); };
INSTANTIATE_TEST_SUITE_P(OnTheCpu, GraphTest, testing::Values("simt"), kName);
INSTANTIATE_TEST_SUITE_P(OnAGpu, GraphTest, testing::Values("cuda"), kName);

}  // namespace
}  // namespace m40llm
