#include "engine/device/memory.hpp"

#include <gtest/gtest.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <limits>

#include "engine/device/buffer.hpp"
#include "engine/device/simt/simt_device.hpp"

namespace m40llm {
namespace {

TEST(MemoryText, IsInPowersOfTen) {
  EXPECT_EQ(in_bytes(0), "0 bytes");
  EXPECT_EQ(in_bytes(999), "999 bytes");
  EXPECT_EQ(in_bytes(1000), "1.0 kB");
  EXPECT_EQ(in_bytes(999'949), "999.9 kB");
  EXPECT_EQ(in_bytes(999'950), "1.0 MB");
  EXPECT_EQ(in_bytes(17'179'869'184), "17.2 GB");
  EXPECT_EQ(in_bytes(std::numeric_limits<std::uint64_t>::max()), "18.4 EB");
}

TEST(MemoryText, NamesTheLargestOwnerFirst) {
  MemoryNeed need;
  EXPECT_EQ(need.text(), "0 bytes");
  need.add("kv_cache", 200'000'000);
  need.add("weights", 16'000'000'000);
  need.add("weights", 1'000'000'000);
  EXPECT_EQ(need.total(), 17'200'000'000u);
  EXPECT_EQ(need.text(), "17.2 GB: weights 17.0 GB, kv_cache 200.0 MB");
}

/// Trees like /proc and /sys/fs/cgroup, with what a test writes into them.
class FreeHostMemory : public testing::Test {
 protected:
  void SetUp() override {
    std::filesystem::remove_all(root_);
    write("proc/meminfo", "MemTotal: 9999 kB\nMemFree: 1 kB\nMemAvailable:    1600 kB\n");
  }
  void TearDown() override { std::filesystem::remove_all(root_); }

  void write(const std::string& path, const std::string& text) const {
    std::filesystem::create_directories((root_ / path).parent_path());
    std::ofstream(root_ / path) << text;
  }
  /// In KiB, before the margin is taken off.
  double free_kib() const {
    const std::uint64_t free = free_host_memory({(root_ / "proc").string(), (root_ / "cgroup").string()});
    return static_cast<double>(free) / 15 * 16 / 1024;
  }

  std::filesystem::path root_ =
      std::filesystem::path(testing::TempDir()) / ("m40llm_memory_" + std::to_string(::getpid()));
};

TEST_F(FreeHostMemory, IsWhatTheSystemHasAvailable) { EXPECT_NEAR(free_kib(), 1600, 0.1); }

TEST_F(FreeHostMemory, IsNotKnownWithoutTheFiles) {
  std::filesystem::remove_all(root_);
  EXPECT_EQ(free_host_memory({root_.string(), root_.string()}), std::numeric_limits<std::uint64_t>::max());
}

TEST_F(FreeHostMemory, KeepsToTheGroupsLimitOfVersion2) {
  write("proc/self/cgroup", "0::/user.slice/run\n");
  write("cgroup/user.slice/run/memory.max", "max\n");
  write("cgroup/user.slice/run/memory.current", "1024\n");
  EXPECT_NEAR(free_kib(), 1600, 0.1);
  write("cgroup/user.slice/run/memory.max", "1048576\n");
  write("cgroup/user.slice/run/memory.current", "524288\n");
  EXPECT_NEAR(free_kib(), 512, 0.1);
  write("cgroup/user.slice/run/memory.stat", "anon 5\ninactive_file 65536\nactive_file 65536\n");
  EXPECT_NEAR(free_kib(), 640, 0.1);
  write("cgroup/user.slice/memory.max", "204800\n");  // a limit above holds too
  write("cgroup/user.slice/memory.current", "102400\n");
  EXPECT_NEAR(free_kib(), 100, 0.1);
  write("cgroup/user.slice/memory.current", "409600\n");
  EXPECT_NEAR(free_kib(), 0, 0.1);
}

TEST_F(FreeHostMemory, KeepsToTheGroupsLimitOfVersion1) {
  write("proc/self/cgroup", "7:cpu,cpuacct:/\n4:hugetlb,memory:/jobs/one\n0::/\n");
  write("cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n");
  write("cgroup/memory/memory.usage_in_bytes", "1048576\n");
  EXPECT_NEAR(free_kib(), 1600, 0.1);
  write("cgroup/memory/jobs/one/memory.limit_in_bytes", "1048576\n");
  write("cgroup/memory/jobs/one/memory.usage_in_bytes", "524288\n");
  write("cgroup/memory/jobs/one/memory.stat", "inactive_file 1\ntotal_inactive_file 131072\n");
  EXPECT_NEAR(free_kib(), 640, 0.1);
}

TEST_F(FreeHostMemory, KeepsToTheLimitOfAContainerThatDoesNotSeeItsPath) {
  write("proc/self/cgroup", "4:memory:/docker/0123\n0::/docker/0123\n");
  write("cgroup/memory.max", "1048576\n");
  write("cgroup/memory.current", "0\n");
  EXPECT_NEAR(free_kib(), 1024, 0.1);
  write("cgroup/memory/memory.limit_in_bytes", "524288\n");
  write("cgroup/memory/memory.usage_in_bytes", "0\n");
  EXPECT_NEAR(free_kib(), 512, 0.1);
}

TEST_F(FreeHostMemory, KeepsToTheLimitOfTheAddressSpace) {
  rlimit before{};
  ASSERT_EQ(getrlimit(RLIMIT_AS, &before), 0);
  const rlimit tebibyte{std::min<rlim_t>(rlim_t{1} << 40, before.rlim_max), before.rlim_max};
  const auto page = static_cast<rlim_t>(sysconf(_SC_PAGESIZE));
  write("proc/self/statm", std::to_string(tebibyte.rlim_cur / page - 50) + " 50 3 4 0 5 0\n");
  EXPECT_NEAR(free_kib(), 1600, 0.1);
  setrlimit(RLIMIT_AS, &tebibyte);
  EXPECT_NEAR(free_kib(), 50 * static_cast<double>(page) / 1024, 0.1);
  setrlimit(RLIMIT_AS, &before);
}

std::string refusal_of(const auto& action) {
  try {
    action();
  } catch (const OutOfMemory& refusal) {
    return refusal.what();
  }
  return "(no refusal)";
}

TEST(SimtMemory, IsRefusedBeyondTheBudgetWithWhatIsHeld) {
  DeviceOptions options;
  options.memory_bytes = 10'000'000;
  const std::unique_ptr<Device> device = open_simt_device(options);
  EXPECT_EQ(device->info().memory_bytes, 10'000'000u);
  const Buffer<char> weights(*device, 6'000'000, "weights");
  {
    const Buffer<char> cache(*device, 1'000'000, "kv_cache");
    EXPECT_EQ(device->free_bytes(), 3'000'000u);
    EXPECT_EQ(refusal_of([&] { device->allocate(3'000'001, "activations"); }),
              "not enough memory: 3.0 MB for 'activations' are needed; " + device->info().name +
                  " has 3.0 MB free and holds 7.0 MB: weights 6.0 MB, kv_cache 1.0 MB");
    const Buffer<char> fits(*device, 3'000'000, "activations");
    EXPECT_NE(refusal_of([&] { device->allocate(1, "x"); }), "(no refusal)");
  }
  const Buffer<char> again(*device, 4'000'000, "kv_cache");  // what was released counts no more
}

TEST(SimtMemory, IsRefusedBeyondWhatTheHostHas) {
  const std::unique_ptr<Device> device = open_simt_device({});
  EXPECT_GT(device->info().memory_bytes, 0u);
  EXPECT_LT(device->info().memory_bytes, std::size_t{1} << 46);
  for (const std::size_t bytes : {device->info().memory_bytes + 1, std::numeric_limits<std::size_t>::max()}) {
    const std::string text = refusal_of([&] { device->allocate(bytes, "everything"); });
    EXPECT_NE(text.find("'everything'"), std::string::npos) << text;
  }
}

TEST(MissingMemory, CountsTheHostsWhereTheyAreOne) {
  DeviceOptions options;
  options.memory_bytes = 1'000'000;
  const std::unique_ptr<Device> device = open_simt_device(options);
  MemoryNeed on_device, on_host;
  on_device.add("weights", 700'000);
  on_host.add("loading", 300'000);
  EXPECT_EQ(missing_memory(*device, on_device, on_host), "");
  on_host.add("loading", 1);
  EXPECT_EQ(
      missing_memory(*device, on_device, on_host),
      "1.0 MB: weights 700.0 kB, loading 300.0 kB are needed; " + device->info().name + " has 1.0 MB free");
}

}  // namespace
}  // namespace m40llm
