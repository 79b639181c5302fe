// Every fault the SIMT device knows, planted: the report must be of it and name kernel, block, thread, file
// and line. The same kernels without their faults must not be reported on, in any order of lanes, warps and
// blocks.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <fstream>
#include <set>
#include <string>
#include <thread>

#include "kernels/simt/checker.hpp"
#include "tests/simt/kernels_under_test.hpp"

namespace m40llm {
namespace {

using simt::Fault;

struct Case {
  const char* name;
  void (*kernel)(FaultParams);
  Fault fault;
  bool by_scheduler;  // found in every build
  LaunchConfig config;
};

const Case kCases[] = {
    {"uninitialized_shared", uninitialized_shared, Fault::uninitialized_read, false, {{1}, 64}},
    {"uninitialized_buffer", uninitialized_buffer, Fault::uninitialized_read, false, {{1}, 64}},
    {"read_out_of_bounds", read_out_of_bounds, Fault::out_of_bounds_read, false, {{1}, 64}},
    {"read_shared_out_of_bounds", read_shared_out_of_bounds, Fault::out_of_bounds_read, false, {{1}, 64}},
    {"write_out_of_bounds", write_out_of_bounds, Fault::out_of_bounds_write, false, {{1}, 64}},
    {"host_memory", host_memory, Fault::out_of_bounds_read, false, {{1}, 64}},
    {"misaligned", misaligned, Fault::misaligned, false, {{1}, 32}},
    {"race_within_warp", race_within_warp, Fault::race, false, {{1}, 64}},
    {"race_between_warps", race_between_warps, Fault::race, false, {{1}, 64}},
    {"write_after_read", write_after_read, Fault::race, false, {{1}, 64}},
    {"race_between_blocks", race_between_blocks, Fault::race, false, {{3}, 64}},
    {"write_after_read_of_blocks", write_after_read_of_blocks, Fault::race, false, {{3}, 64}},
    {"race_of_halfs", race_of_halfs, Fault::race, false, {{1}, 64}},
    {"atomic_and_plain", atomic_and_plain, Fault::race, false, {{1}, 64}},
    {"relaxed_store", relaxed_store, Fault::race, false, {{2}, 32, 0, true}},
    {"release_too_early", release_too_early, Fault::race, false, {{2}, 32, 0, true}},
    {"last_block", last_block, Fault::race, false, {{4}, 64}},
    {"missing_grid_barrier", missing_grid_barrier, Fault::race, false, {{4}, 64, 0, true}},
    {"readonly_after_write", readonly_after_write, Fault::readonly_written, false, {{1}, 64}},
    {"write_after_readonly", write_after_readonly, Fault::readonly_written, false, {{1}, 64}},
    {"readonly_vector", readonly_vector, Fault::readonly_written, false, {{1}, 64}},
    {"readonly_half", readonly_half, Fault::readonly_written, false, {{1}, 64}},
    {"readonly_of_another_block",
     readonly_of_another_block,
     Fault::readonly_written,
     false,
     {{2}, 32, 0, true}},
    {"readonly_then_atomic", readonly_then_atomic, Fault::readonly_written, false, {{1}, 64}},
    {"many_epochs", many_epochs, Fault::race, false, {{1}, 64}},
    {"barrier_part_of_warp", barrier_part_of_warp, Fault::barrier_not_reached, true, {{1}, 64}},
    {"barrier_elsewhere", barrier_elsewhere, Fault::barrier_not_reached, true, {{1}, 64}},
    {"shuffle_missing_lane", shuffle_missing_lane, Fault::shuffle_missing_lane, true, {{1}, 32}},
    {"shuffle_outside_mask", shuffle_outside_mask, Fault::shuffle_missing_lane, true, {{1}, 32}},
    {"spin_holds_own_warp", spin_holds_own_warp, Fault::spin_holds_own_warp, true, {{1}, 64}},
    {"endless_spin", endless_spin, Fault::endless_spin, true, {{1}, 64}},
    {"endless_loop", endless_loop, Fault::endless_spin, true, {{1}, 64}},
    {"too_much_static_shared", too_much_static_shared, Fault::resources, true, {{1}, 64}},
    {"too_much_dynamic_shared", too_much_dynamic_shared, Fault::resources, true, {{1}, 64, 40 * 1024}},
};

/// The lines of faults.cu that end in "fault: <name>".
std::set<int> marked_lines(const std::string& name) {
  std::ifstream file(M40LLM_FAULTS);
  const std::string marker = "// fault: " + name;
  std::set<int> lines;
  int number = 0;
  for (std::string line; std::getline(file, line);) {
    ++number;
    if (line.ends_with(marker)) lines.insert(number);
  }
  return lines;
}

std::string text_of(const std::vector<simt::Report>& reports) {
  std::string text;
  for (const simt::Report& report : reports) text += report.str() + "\n";
  return text;
}

std::vector<simt::Report> run(FaultBench& bench, const Case& c, int plant) {
  bench.reset();
  FaultParams p = bench.params(plant);
  static float host_floats[64];
  const std::unique_ptr<float[]> heap = std::make_unique<float[]>(64);
  Buffer<float> partly(*bench.device, 64, "partly");
  if (c.kernel == uninitialized_buffer) {
    partly.upload(*bench.stream, std::span<const float>(host_floats, plant == 1 ? 63 : 64));
    p.in = partly.data();
  }
  if (c.kernel == host_memory && plant == 1) p.in = heap.get();
  bench.launch(c.name, c.kernel, c.config, p);
  return bench.reports();
}

class PlantedFault : public testing::TestWithParam<Case> {
 protected:
  void SetUp() override {
    if (!simt::kChecked && !GetParam().by_scheduler) GTEST_SKIP() << "found by the checked build";
  }
  void expect_found(SimtOrder order, unsigned workers, std::uint64_t seed) {
    const Case& c = GetParam();
    FaultBench bench(order, workers, seed);
    const std::vector<simt::Report> reports = run(bench, c, 1);
    const std::set<int> lines = marked_lines(c.name);
    ASSERT_FALSE(lines.empty());
    bool found = false;
    for (const simt::Report& report : reports) {
      EXPECT_EQ(report.kernel, c.name);
      EXPECT_LT(report.block_x, c.config.grid.x);
      EXPECT_LT(report.thread, c.config.block);
      // Unless the others of its warp have returned already, a spin also holds these.
      const bool right =
          report.fault == c.fault || (order != SimtOrder::ascending && c.fault == Fault::endless_spin &&
                                      report.fault == Fault::spin_holds_own_warp);
      found |= right && report.file.ends_with("tests/simt/faults.cu") && lines.contains(report.line);
    }
    EXPECT_TRUE(found) << text_of(reports);
    EXPECT_THAT(run(bench, c, 0), testing::IsEmpty()) << "the device must be usable after a fault";
  }
};

TEST_P(PlantedFault, IsReportedWithItsPlace) { expect_found(SimtOrder::ascending, 1, 0); }
TEST_P(PlantedFault, IsReportedInDescendingOrder) { expect_found(SimtOrder::descending, 2, 0); }
TEST_P(PlantedFault, IsReportedInRandomOrders) {
  const unsigned n_seeds = GetParam().kernel == many_epochs || GetParam().kernel == endless_loop ? 1 : 4;
  for (unsigned seed = 1; seed <= n_seeds; ++seed) expect_found(SimtOrder::random, seed % 4 + 1, seed);
}

INSTANTIATE_TEST_SUITE_P(All, PlantedFault, testing::ValuesIn(kCases),
                         [](const auto& info) { return std::string(info.param.name); });

class CleanKernel : public testing::TestWithParam<Case> {};

TEST_P(CleanKernel, IsNotReportedOnInAnyOrder) {
  for (const SimtOrder order : {SimtOrder::ascending, SimtOrder::descending, SimtOrder::random}) {
    for (unsigned workers = 1; workers <= 4; ++workers) {
      const std::uint64_t n_seeds = order == SimtOrder::random && GetParam().kernel != many_epochs ? 4 : 1;
      if (GetParam().kernel == many_epochs && workers != 1) continue;
      for (std::uint64_t seed = 0; seed < n_seeds; ++seed) {
        FaultBench bench(order, workers, seed);
        EXPECT_EQ(text_of(run(bench, GetParam(), 0)), "") << workers << " workers, seed " << seed;
      }
    }
  }
}

INSTANTIATE_TEST_SUITE_P(All, CleanKernel, testing::ValuesIn(kCases),
                         [](const auto& info) { return std::string(info.param.name); });
INSTANTIATE_TEST_SUITE_P(
    OfTheScheduler, CleanKernel,
    testing::Values(Case{"returning_warps", returning_warps, Fault::race, false, {{3}, 64}},
                    Case{"half_warps", half_warps, Fault::race, false, {{3}, 64}},
                    Case{"many_grid_barriers", many_grid_barriers, Fault::race, false, {{24}, 256, 0, true}}),
    [](const auto& info) { return std::string(info.param.name); });

class Checker : public testing::Test {
 protected:
  void SetUp() override {
    if (!simt::kChecked) GTEST_SKIP() << "of the checked build";
  }
};

TEST_F(Checker, NamesTheBufferAndHowFarAnAccessMissesIt) {
  FaultBench bench;
  bench.launch("write_out_of_bounds", write_out_of_bounds, {{1}, 64}, bench.params(1));
  const auto reports = bench.reports();
  ASSERT_EQ(reports.size(), 1u) << text_of(reports);
  EXPECT_EQ(reports[0].thread, 63u);
  EXPECT_EQ(reports[0].text, "4 bytes 0 bytes behind the end of 'data' (256 bytes)");
}

TEST_F(Checker, NamesTheOtherThreadOfARace) {
  FaultBench bench(SimtOrder::ascending, 1);
  bench.launch("race_within_warp", race_within_warp, {{1}, 64}, bench.params(1));
  const auto reports = bench.reports();
  ASSERT_FALSE(reports.empty());
  EXPECT_EQ(reports[0].thread, 33u);  // the last to come to the barrier go on first
  EXPECT_EQ(reports[0].text,
            "write after read: thread 32 of block 0 of race_within_warp read it, and nothing orders the two, "
            "at byte 132 of 'shared "
            "memory' (256 bytes)");
}

TEST_F(Checker, ReportsReleasedMemory) {
  FaultBench bench;
  FaultParams p = bench.params(0);
  {
    const Buffer<float> short_lived(*bench.device, 64, "short_lived");
    bench.stream->fill(short_lived.data(), 0, short_lived.bytes());
    bench.stream->synchronize();
    p.in = short_lived.data();
  }
  bench.launch("read_out_of_bounds", read_out_of_bounds, {{1}, 64}, p);
  const auto reports = bench.reports();
  ASSERT_EQ(reports.size(), 1u) << text_of(reports);
  EXPECT_EQ(reports[0].fault, Fault::out_of_bounds_read);
  EXPECT_THAT(reports[0].text, testing::HasSubstr("'short_lived' (256 bytes, released)"));
}

TEST_F(Checker, ReportsCopiesOfUnwrittenBytesAndOutOfBounds) {
  FaultBench bench;
  const Buffer<std::uint8_t> bytes(*bench.device, 10, "ten");
  std::vector<std::uint8_t> host(16);
  bench.stream->fill(bytes.data(), 1, 7);
  bench.stream->copy_to_host(host.data(), bytes.data(), 10);
  auto reports = bench.reports();
  ASSERT_EQ(reports.size(), 1u) << text_of(reports);
  EXPECT_EQ(reports[0].kernel, "copy_to_host");
  EXPECT_EQ(reports[0].fault, Fault::uninitialized_read);
  EXPECT_EQ(reports[0].text, "3 bytes have never been written, the first at byte 7 of 'ten' (10 bytes)");
  bench.stream->copy_to_host(host.data(), bytes.data(), 11);
  reports = bench.reports();
  ASSERT_EQ(reports.size(), 1u) << text_of(reports);
  EXPECT_EQ(reports[0].fault, Fault::out_of_bounds_read);
  bench.stream->copy_to_device(bytes.data() + 8, host.data(), 3);
  reports = bench.reports();
  ASSERT_EQ(reports.size(), 1u) << text_of(reports);
  EXPECT_EQ(reports[0].fault, Fault::out_of_bounds_write);
}

TEST_F(Checker, OrdersStreamsByEventsAndTheHostOnly) {
  FaultBench bench;
  const auto other = bench.device->create_stream();
  const auto event = bench.device->create_event();
  const Kernel<FaultParams> kernel{"add_one", add_one};
  bench.stream->synchronize();
  const auto reports_of_both = [&] {
    auto reports = bench.reports();
    try {
      other->synchronize();
    } catch (const KernelFault& fault) {
      reports.insert(reports.end(), fault.reports.begin(), fault.reports.end());
    }
    return reports;
  };
  for (int i = 0; i < 20; ++i) {
    bench.stream->launch(kernel, {{1}, 64}, bench.params(0));
    bench.stream->record(*event);
    other->wait(*event);
    other->launch(kernel, {{1}, 64}, bench.params(0));
    other->record(*event);
    bench.stream->wait(*event);
  }
  EXPECT_EQ(text_of(reports_of_both()), "") << "events order";
  bench.stream->launch(kernel, {{1}, 64}, bench.params(0));
  bench.stream->synchronize();
  other->launch(kernel, {{1}, 64}, bench.params(0));
  EXPECT_EQ(text_of(reports_of_both()), "") << "the host's wait orders";
  bench.stream->launch(kernel, {{1}, 64}, bench.params(0));
  bench.stream->record(*event);
  event->synchronize();
  other->launch(kernel, {{1}, 64}, bench.params(0));
  EXPECT_EQ(text_of(reports_of_both()), "") << "the host's wait for an event orders";
  bench.stream->launch(kernel, {{1}, 64}, bench.params(0));
  other->launch(kernel, {{1}, 64}, bench.params(0));
  const auto reports = reports_of_both();
  ASSERT_FALSE(reports.empty()) << "a missing wait";
  EXPECT_EQ(reports[0].fault, Fault::race);
  EXPECT_TRUE(marked_lines("add_one").contains(reports[0].line)) << text_of(reports);
}

/// One that overlaps those before it does nothing that they have a part in before it has waited for them: not for the
/// last alone, which began early itself.
TEST_F(Checker, ReportsWhatAnOverlappingKernelDoesBeforeItWaits) {
  const LaunchConfig overlaps{.grid = {1}, .block = 64, .overlaps = true};
  for (const auto& [name, kernel] : {std::pair("reads_before_it_waits", &reads_before_it_waits),
                                     std::pair("writes_before_it_waits", &writes_before_it_waits)}) {
    for (const int plant : {0, 1}) {
      FaultBench bench;
      const auto is_reported = [&] {
        const auto reports = bench.reports();
        for (const simt::Report& report : reports) {
          EXPECT_EQ(report.fault, Fault::race);
          EXPECT_TRUE(marked_lines(name).contains(report.line)) << text_of(reports);
        }
        return !reports.empty();
      };
      bench.launch("add_one", add_one, {{1}, 64}, bench.params(0));
      bench.launch(name, kernel, overlaps, bench.params(plant));
      EXPECT_EQ(is_reported(), plant == 1) << name;
      bench.launch("add_one", add_one, {{1}, 64}, bench.params(0));
      FaultParams beside = bench.params(0);  // nothing of the others'
      beside.data = bench.out.data() + 64;
      bench.launch("writes_before_it_waits", writes_before_it_waits, overlaps, beside);
      bench.launch(name, kernel, overlaps, bench.params(plant));
      EXPECT_EQ(is_reported(), plant == 1) << name << " behind another that overlaps";
      bench.launch("add_one", add_one, {{1}, 64}, bench.params(0));
      bench.launch(name, kernel, {{1}, 64}, bench.params(plant));
      EXPECT_FALSE(is_reported()) << name << " that does not overlap";
      bench.launch(name, kernel, overlaps, bench.params(plant));
      EXPECT_FALSE(is_reported()) << name << " behind what the host has waited for";
    }
  }
}

TEST_F(Checker, ReportsARaceOfACopyWithAKernelOfAnotherStream) {
  FaultBench bench;
  const auto other = bench.device->create_stream();
  bench.stream->synchronize();
  std::vector<float> host(64);
  bench.launch("add_one", add_one, {{1}, 64}, bench.params(0));
  other->copy_to_host(host.data(), bench.data.data(), bench.data.bytes());
  auto reports = bench.reports();
  try {
    other->synchronize();
  } catch (const KernelFault& fault) {
    reports.insert(reports.end(), fault.reports.begin(), fault.reports.end());
  }
  ASSERT_FALSE(reports.empty());
  EXPECT_EQ(reports[0].fault, Fault::race) << text_of(reports);
}

/// A bench whose kernels work on pinned memory.
class CheckerOfPinned : public Checker {
 protected:
  CheckerOfPinned() {
    for (float& value : floats.span()) value = 1.f;
    for (unsigned& word : words.span()) word = 0;
  }
  FaultParams params(int plant) const {
    FaultParams p = bench.params(plant);
    p.in = p.data = floats.span().data();
    p.words = words.span().data();
    return p;
  }
  std::string reports_of_both() {
    std::string text = text_of(bench.reports());
    try {
      other->synchronize();
    } catch (const KernelFault& fault) {
      text += text_of(fault.reports);
    }
    return text;
  }
  FaultBench bench;
  std::unique_ptr<Stream> other = bench.device->create_stream();
  PinnedBuffer<float> floats{*bench.device, 64};
  PinnedBuffer<unsigned> words{*bench.device, 4};
};

TEST_F(CheckerOfPinned, KnowsIt) {
  bench.launch("add_one", add_one, {{1}, 64}, params(0));
  EXPECT_EQ(text_of(bench.reports()), "");
  EXPECT_EQ(floats[63], 2.f);
  bench.stream->copy_to_device(bench.data.data(), floats.span().data(), 256);
  EXPECT_EQ(bench.data.download(*bench.stream), std::vector<float>(64, 2.f));
  bench.launch("write_out_of_bounds", write_out_of_bounds, {{1}, 64}, params(1));
  const auto reports = bench.reports();
  ASSERT_EQ(reports.size(), 1u) << text_of(reports);
  EXPECT_EQ(reports[0].text, "4 bytes 0 bytes behind the end of 'pinned memory' (256 bytes)");
}

TEST_F(CheckerOfPinned, ReportsRacesOfKernels) {
  bench.launch("race_between_blocks", race_between_blocks, {{3}, 64}, params(1));
  EXPECT_THAT(text_of(bench.reports()), testing::HasSubstr("race: write after write"));
  bench.stream->launch(Kernel<FaultParams>{"add_one", add_one}, {{1}, 64}, params(0));
  other->launch(Kernel<FaultParams>{"add_one", add_one}, {{1}, 64}, params(0));
  EXPECT_THAT(reports_of_both(), testing::HasSubstr("race: "));
}

TEST_F(CheckerOfPinned, LetsTheHostPassOnWhatAKernelReleased) {
  std::atomic_ref<unsigned> from_first(words[0]);
  std::atomic_ref<unsigned> to_second(words[1]);
  for (int round = 0; round < 20; ++round) {
    from_first.store(0);
    to_second.store(0);
    FaultParams second = params(0);
    ++second.words;
    other->launch(Kernel<FaultParams>{"wait_for_word", wait_for_word},
                  {.grid = {1}, .block = 32, .host_fed = true}, second);
    bench.launch("store_word", store_word, {{1}, 32}, params(0));
    const auto late = std::chrono::steady_clock::now() + std::chrono::seconds(10);
    while (from_first.load() == 0 && std::chrono::steady_clock::now() < late) std::this_thread::yield();
    floats[1] = 5.f;
    to_second.store(1);
    ASSERT_EQ(reports_of_both(), "");
    ASSERT_EQ(floats[0], 3.f);
  }
}

TEST_F(Checker, TakesCopiesOfNothing) {
  FaultBench bench;
  bench.stream->copy_to_device(nullptr, nullptr, 0);
  bench.stream->copy_to_host(nullptr, nullptr, 0);
  bench.stream->fill(nullptr, 0, 0);
  EXPECT_EQ(text_of(bench.reports()), "");
}

TEST_F(Checker, RefusesMoreBlocksThanItTellsApart) {
  FaultBench bench;
  bench.launch("add_one", add_one, {{1u << 26}, 32}, bench.params(0));
  const auto reports = bench.reports();
  ASSERT_EQ(reports.size(), 1u) << text_of(reports);
  EXPECT_EQ(reports[0].fault, Fault::device_failed);
  EXPECT_EQ(reports[0].text, "67108864 blocks; the checked build tells 33554431 apart");
}

TEST_F(Checker, KeepsApartWhatItRenumbered) {
  if constexpr (simt::kChecked) simt::checker::set_task_limit(40);
  FaultBench bench;
  for (int i = 0; i < 100; ++i) {
    bench.launch("add_one", add_one, {{1}, 64}, bench.params(0));
    bench.launch("race_between_blocks", race_between_blocks, {{3}, 64}, bench.params(0));
  }
  EXPECT_EQ(text_of(bench.reports()), "");
  bench.launch("race_between_blocks", race_between_blocks, {{3}, 64}, bench.params(1));
  EXPECT_FALSE(bench.reports().empty());
  if constexpr (simt::kChecked) simt::checker::set_task_limit(~0u);
}

}  // namespace
}  // namespace m40llm
