// What a stream of the SIMT device owes the host and other streams: memory that outlives the work on it, and waits
// that are called deadlocks only when they are.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <ctime>
#include <string>
#include <thread>
#include <vector>

#include "tests/simt/kernels_under_test.hpp"

namespace m40llm {
namespace {

using namespace std::chrono_literals;

constexpr auto kLong = 300ms;  // six times what a wait used to be given

double cpu_seconds() {
  timespec now{};
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
  return static_cast<double>(now.tv_sec) + 1e-9 * static_cast<double>(now.tv_nsec);
}

/// A bench with a word of pinned memory that kernels can be made to wait for.
class SimtStream : public testing::Test {
 protected:
  SimtStream() {
    word[0] = 0;
    bench.stream->synchronize();
  }
  /// Holds the stream until let_go().
  void hold(Stream& stream) {
    FaultParams p = bench.params(0);
    p.words = word.span().data();
    stream.launch(Kernel<FaultParams>{"wait_for_word", wait_for_word},
                  {.grid = {1}, .block = 32, .host_fed = true}, p);
  }
  void let_go() { std::atomic_ref<unsigned>(word[0]).store(1); }
  static std::vector<simt::Report> reports(Stream& stream) {
    try {
      stream.synchronize();
    } catch (const KernelFault& fault) {
      return fault.reports;
    }
    return {};
  }
  FaultBench bench;
  std::unique_ptr<Stream> other = bench.device->create_stream();
  PinnedBuffer<unsigned> word{*bench.device, 1};
};

TEST_F(SimtStream, ReleasingMemoryWaitsForTheWorkThatMayUseIt) {
  for (const bool pinned : {false, true}) {
    word[0] = 0;
    hold(*other);
    std::atomic<bool> released = false;
    std::jthread releasing([&] {
      {
        const Buffer<float> buffer(*bench.device, 1 << 20, "short_lived");
        const PinnedBuffer<float> copied(*bench.device, 1 << 20);
        if (pinned) {
          other->copy_to_host(copied.span().data(), bench.data.data(), bench.data.bytes());
        } else {
          other->fill(buffer.data(), 1, buffer.bytes());
        }
      }
      released = true;
    });
    std::this_thread::sleep_for(100ms);
    EXPECT_FALSE(released) << (pinned ? "pinned memory" : "a buffer");
    let_go();
    releasing.join();
    EXPECT_THAT(reports(*other), testing::IsEmpty());
  }
}

TEST_F(SimtStream, CopiesLetGoOfOrdinaryMemoryBeforeTheyReturn) {
  constexpr std::size_t kN = 1 << 20;
  const Buffer<float> buffer(*bench.device, kN, "buffer");
  hold(*other);
  std::jthread letting_go([&] {
    std::this_thread::sleep_for(50ms);
    let_go();
  });
  std::vector<float> host(kN, 1.f);
  buffer.upload(*other, host);
  std::ranges::fill(host, 2.f);
  EXPECT_THAT(buffer.download(*other), testing::Each(1.f));
  letting_go.join();

  word[0] = 0;
  hold(*other);
  letting_go = std::jthread([&] {
    std::this_thread::sleep_for(50ms);
    let_go();
  });
  other->copy_to_host(host.data(), buffer.data(), buffer.bytes());
  EXPECT_THAT(host, testing::Each(1.f));
}

// What a case of the harness does when its launch is refused: its copies are queued, and all it holds goes.
TEST_F(SimtStream, ARefusedLaunchLeavesNothingBehind) {
  for (int round = 0; round < 16; ++round) {
    bench.reset();
    EXPECT_THROW(
        {
          const std::vector<float> host(1 << 18, 1.f);
          const Buffer<float> first(*bench.device, host.size(), "first");
          const Buffer<float> second(*bench.device, host.size(), "second");
          first.upload(*bench.stream, host);
          bench.stream->fill(second.data(), 0, second.bytes());
          second.upload(*bench.stream, host);
          bench.stream->fill(second.data(), 0, second.bytes());
          bench.launch("add_one", add_one, {{1}, 64, 49 * 1024}, bench.params(0));
        },
        LaunchRefused);
    bench.launch("add_one", add_one, {{2}, 32}, bench.params(0));
    EXPECT_THAT(bench.data.download(*bench.stream), testing::Each(1.f));
  }
}

TEST_F(SimtStream, AWaitForTheHostIsNoDeadlockAndCostsNoCore) {
  hold(*other);
  const double cpu = cpu_seconds();
  std::this_thread::sleep_for(2 * kLong);
  EXPECT_LT(cpu_seconds() - cpu, 0.3) << "of 0.6 s";
  std::jthread late([&] {
    std::this_thread::sleep_for(kLong);
    let_go();
  });
  EXPECT_THAT(reports(*other), testing::IsEmpty());
  EXPECT_EQ(bench.data.download(*other)[0], 1.f);
}

TEST_F(SimtStream, WakesSoonAfterTheHostWrites) {
  std::vector<double> took_ms;
  for (int round = 0; round < 9; ++round) {
    word[0] = 0;
    hold(*other);
    std::this_thread::sleep_for(30ms);
    const auto written = std::chrono::steady_clock::now();
    let_go();
    other->synchronize();
    took_ms.push_back(
        std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - written).count());
  }
  std::ranges::nth_element(took_ms, took_ms.begin() + 4);
  EXPECT_LT(took_ms[4], 5.0);  // 1 ms on a machine that has nothing else to do
}

TEST_F(SimtStream, AWaitForALaterLaunchIsNoDeadlock) {
  const FaultParams p = bench.params(0);
  bench.launch("wait_for_word", wait_for_word, {{1}, 32}, p);
  std::this_thread::sleep_for(kLong);
  other->launch(Kernel<FaultParams>{"store_word", store_word}, {{1}, 32}, p);
  EXPECT_THAT(reports(*bench.stream), testing::IsEmpty());
  EXPECT_EQ(bench.data.download(*bench.stream)[0], 3.f);
}

void slow(FaultParams) { std::this_thread::sleep_for(kLong / 32); }  // a warp

TEST_F(SimtStream, AWaitForASlowStreamIsNoDeadlock) {
  const FaultParams p = bench.params(0);
  const auto third = bench.device->create_stream();
  const auto event = bench.device->create_event();
  third->launch(Kernel<FaultParams>{"slow", slow}, {{1}, 32}, p);
  third->record(*event);
  other->wait(*event);  // the one that writes can run once the slow one is done
  other->launch(Kernel<FaultParams>{"store_word", store_word}, {{1}, 32}, p);
  bench.launch("wait_for_word", wait_for_word, {{1}, 32}, p);
  EXPECT_THAT(reports(*bench.stream), testing::IsEmpty());
  EXPECT_EQ(bench.data.download(*bench.stream)[0], 3.f);
}

TEST_F(SimtStream, ADeadlockIsToldSoonWithItsPlace) {
  const auto begin = std::chrono::steady_clock::now();
  bench.launch("wait_for_word", wait_for_word, {{1}, 32}, bench.params(0));
  const auto found = reports(*bench.stream);
  EXPECT_LT(std::chrono::steady_clock::now() - begin, 2s);
  ASSERT_EQ(found.size(), 1u);
  EXPECT_EQ(found[0].kernel, "wait_for_word");
  EXPECT_EQ(found[0].block_x, 0u);
  EXPECT_EQ(found[0].thread, 0u);
  EXPECT_TRUE(found[0].file.ends_with("tests/simt/faults.cu")) << found[0].str();
  EXPECT_GT(found[0].line, 0);
}

TEST_F(SimtStream, StreamsThatWaitForEachOtherAreDeadlocked) {
  FaultParams p = bench.params(0);
  const auto third = bench.device->create_stream();
  const auto event = bench.device->create_event();
  bench.launch("wait_for_word", wait_for_word, {{1}, 32}, p);
  bench.stream->record(*event);
  third->wait(*event);
  third->launch(Kernel<FaultParams>{"store_word", store_word}, {{1}, 32}, p);
  ++p.words;
  other->launch(Kernel<FaultParams>{"wait_for_word", wait_for_word}, {{1}, 32}, p);
  EXPECT_EQ(reports(*bench.stream).size(), 1u);
  EXPECT_EQ(reports(*other).size(), 1u);
  third->synchronize();  // what waited for the event goes on
  EXPECT_EQ(bench.words.download(*third)[0], 1u);
}

TEST_F(SimtStream, AStreamThatEndsHasDoneItsWork) {
  const auto event = bench.device->create_event();
  {
    const auto short_lived = bench.device->create_stream();
    short_lived->launch(Kernel<FaultParams>{"slow", slow}, {{1}, 32}, bench.params(0));
    short_lived->record(*event);
    bench.stream->wait(*event);
    bench.launch("add_one", add_one, {{2}, 32}, bench.params(0));
  }
  EXPECT_THAT(bench.data.download(*bench.stream), testing::Each(1.f));
}

TEST_F(SimtStream, RefusesEventsOfAnotherDevice) {
  const FaultBench elsewhere;
  const auto event = elsewhere.device->create_event();
  EXPECT_THROW(other->record(*event), std::logic_error);
  EXPECT_THROW(other->wait(*event), std::logic_error);
}

}  // namespace
}  // namespace m40llm
