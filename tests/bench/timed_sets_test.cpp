// How cases are timed: on the driver of tests/device/fake_cuda.hpp, which says what it was asked, and on the SIMT device.
#include "bench/timed_sets.hpp"

#include <gtest/gtest.h>

#include <cstdlib>
#include <regex>

#include "engine/device/open.hpp"
#include "tests/device/fake_cuda.hpp"

namespace m40llm::bench {
namespace {

/// The fake GPU's: of its L2 of 3 MiB a case of this one is a third, with its sums.
const Case kMegabyte = Case::parse("read/parts n=262144 random seed=1");
constexpr double kL2 = 3 << 20;

/// What was put on the device since the last clear: "launch A" or "node A", where A, B, ... are the buffers that
/// kernels read, by first appearance, and " | " stands where an event was recorded.
class Launches {
 public:
  std::string text() {
    static const std::regex call(
        R"((cuLaunchKernel|cuGraphAddKernelNode)\([^)]* param (-?\d+)[^)]*\)|cuGraphLaunch|cuEventRecord)");
    const std::string log = fake_cuda_log();
    std::string text;
    for (std::sregex_iterator at(log.begin(), log.end(), call), end; at != end; ++at) {
      if (at->str().starts_with("cuEventRecord")) {
        text += "|";
      } else if (at->str().starts_with("cuGraphLaunch")) {
        text += "graph";
      } else {
        const auto name =
            names_.try_emplace(at->str(2), std::string(1, static_cast<char>('A' + names_.size()))).first;
        text += name->second;
      }
    }
    fake_cuda_clear();
    return text;
  }

 private:
  std::map<std::string, std::string> names_;
};

class OnTheFakeGpu : public testing::Test {
 protected:
  void SetUp() override {
    set("FAKE_CUDA_MEMORY", "100000000");
    device_ = open_device({.device = "cuda"});
    stream_ = device_->create_stream();
    fake_cuda_clear();
  }
  void TearDown() override {
    unsetenv("FAKE_CUDA_MEMORY");
    unsetenv("FAKE_CUDA_FAIL");
  }
  static void set(const char* name, const char* value) { setenv(name, value, 1); }
  TimedSets sets(const Case& c) { return TimedSets(*device_, *stream_, suite(c.op), c); }

  std::unique_ptr<Device> device_;
  std::unique_ptr<Stream> stream_;
};

TEST_F(OnTheFakeGpu, SetsAreAddedUntilTheyExceedTheBytes) {
  TimedSets timed = sets(kMegabyte);
  EXPECT_EQ(add_sets(timed, nullptr, 4 * kL2, 1024), "");
  EXPECT_EQ(timed.size(), 12u);  // 12 MiB of words, and the sums beyond
  EXPECT_GT(timed.bytes(), 4 * kL2);
  EXPECT_LT(timed.bytes() - timed.work().bytes, 4 * kL2);
}

TEST_F(OnTheFakeGpu, OneThatIsLargeEnoughIsAlone) {
  TimedSets timed = sets(kMegabyte);
  EXPECT_EQ(add_sets(timed, nullptr, 1e6, 1024), "");
  EXPECT_EQ(timed.size(), 1u);
}

TEST_F(OnTheFakeGpu, SetsAreAtMostSoMany) {
  TimedSets timed = sets(kMegabyte);
  EXPECT_EQ(add_sets(timed, nullptr, 4 * kL2, 5), "5 input sets are the most that are made");
  EXPECT_EQ(timed.size(), 5u);
}

TEST_F(OnTheFakeGpu, AReadBesideHasAsManySetsAndBytes) {
  TimedSets timed = sets(Case::parse("residual_add/element n=100001 random seed=1"));
  TimedSets read = sets(plain_read_of(timed.work().bytes));
  EXPECT_EQ(read.first().line(), "read/parts n=300004 random seed=1");  // 1,200,012 bytes
  EXPECT_EQ(add_sets(timed, &read, 4 * kL2, 1024), "");
  EXPECT_EQ(timed.size(), 11u);
  EXPECT_EQ(read.size(), 11u);
}

TEST_F(OnTheFakeGpu, WhereMemoryEndsThereAreFewerAndItSaysWhy) {
  for (const char* memory : {"5000000", "6000000", "7000000", "8000000", "9000000"}) {
    set("FAKE_CUDA_MEMORY", memory);
    TimedSets timed = sets(kMegabyte);
    TimedSets read = sets(plain_read_of(timed.work().bytes));
    const std::string why = add_sets(timed, &read, 4 * kL2, 1024);
    EXPECT_EQ(why.find("not enough memory for the case: 1."), 0u) << why;
    EXPECT_NE(why.find(" are needed; Fake 0 has "), std::string::npos) << why;
    EXPECT_EQ(timed.size(), read.size()) << memory;
    EXPECT_LT(timed.size(), 4u) << memory;
    EXPECT_GT(device_->free_bytes(), 1'000'000u) << "none left for modules and graphs, of " << memory;
  }
}

TEST_F(OnTheFakeGpu, TheFirstThatFindsNoMemoryIsAnError) {
  set("FAKE_CUDA_MEMORY", "500000");
  EXPECT_THROW(sets(kMegabyte), OutOfMemory);
}

/// Every event of the fake driver is 250 us after the one before.
TEST_F(OnTheFakeGpu, LaunchesGoThroughTheSetsInTurn) {
  TimedSets timed = sets(kMegabyte);
  add_sets(timed, nullptr, 2e6, 1024);
  add_sets(timed, nullptr, 3e6, 1024);
  ASSERT_EQ(timed.size(), 3u);
  timed.prepare(LaunchedBy::launches);
  EXPECT_EQ(timed.launches_per_sample(), 1);
  Launches launches;
  EXPECT_EQ(launches.text(), "|A||B|");
  std::string samples;
  for (int i = 0; i < 4; ++i) EXPECT_EQ(timed.sample_us(), 250);
  EXPECT_EQ(launches.text(), "|C||A||B||C|");
}

TEST_F(OnTheFakeGpu, AGraphHasEverySetAlikeOftenAndIsLaunchedOnceASample) {
  TimedSets timed = sets(kMegabyte);
  add_sets(timed, nullptr, 3e6, 1024);
  ASSERT_EQ(timed.size(), 3u);
  timed.prepare(LaunchedBy::graph);
  EXPECT_EQ(timed.launches_per_sample(), 3);
  Launches launches;
  EXPECT_EQ(launches.text(), "|A||B|ABC|graph|") << "two launches, a graph, and its first launch";
  EXPECT_EQ(timed.sample_us(), 83.333);
  EXPECT_EQ(launches.text(), "|graph|");
}

TEST_F(OnTheFakeGpu, NothingIsLeftBehindWhereAGraphCannotBeMade) {
  {
    TimedSets timed = sets(kMegabyte);
    set("FAKE_CUDA_FAIL", "cuGraphInstantiateWithFlags=2");
    EXPECT_THROW(timed.prepare(LaunchedBy::graph), DeviceFault);
  }
  EXPECT_TRUE(device_->holdings().empty());
}

class OnTheSimtDevice : public testing::TestWithParam<LaunchedBy> {};

/// Of each op the first variant, its outputs right after whatever was launched before.
TEST_P(OnTheSimtDevice, EverySetIsRightAfterwards) {
  const std::unique_ptr<Device> device = open_device({.device = "simt"});
  const std::unique_ptr<Stream> stream = device->create_stream();
  for (const auto& suite : suites()) {
    const Shape shape = suite->shapes(Sweep::smoke).front();
    const std::string variant = suite->variants().back().name;
    if (!suite->applies(variant, shape)) continue;
    TimedSets timed(*device, *stream, *suite, {suite->op(), variant, shape, suite->inputs().front()});
    timed.add();
    timed.add();
    timed.prepare(GetParam());
    EXPECT_GT(timed.sample_us(), 0);
    EXPECT_GT(timed.sample_us(), 0);
    EXPECT_TRUE(timed.judge_again().passed) << timed.first().line();
  }
}

/// Of several seeds the worst is judged.
TEST(TimedSets, HaveInputsOfTheirOwn) {
  const std::unique_ptr<Device> device = open_device({.device = "simt"});
  const std::unique_ptr<Stream> stream = device->create_stream();
  TimedSets timed(*device, *stream, suite("gemv_f32"),
                  Case::parse("gemv_f32/shared rows=5,cols=64 R seed=1"));
  const double of_one = timed.judge_again().error_over_bound;
  for (int i = 0; i < 7; ++i) timed.add();
  EXPECT_GT(timed.judge_again().error_over_bound, of_one);
}

INSTANTIATE_TEST_SUITE_P(, OnTheSimtDevice, testing::Values(LaunchedBy::launches, LaunchedBy::graph),
                         [](const auto& info) {
                           return info.param == LaunchedBy::graph ? "Graph" : "Launches";
                         });

TEST(PlainRead, IsOfWholeLoads) {
  for (const auto& [bytes, n] : {std::pair(1.0, 4), {16.0, 4}, {17.0, 8}, {1e6, 250'000}})
    EXPECT_EQ(at(plain_read_of(bytes).shape, "n"), n) << bytes;
  EXPECT_EQ(at(plain_read_of(1e12).shape, "n"), 1 << 28);
  EXPECT_NO_THROW(suite("read").check(plain_read_of(1e12)));
}

}  // namespace
}  // namespace m40llm::bench
