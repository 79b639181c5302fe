#include <gtest/gtest.h>

#include <cstdlib>
#include <set>

#include "engine/device/buffer.hpp"
#include "engine/device/device.hpp"

/// What every device keeps account of, on one that only hands out memory.
namespace m40llm {
namespace {

class MemoryOnly final : public Device {
 public:
  ~MemoryOnly() override { EXPECT_TRUE(live.empty()) << "memory was not released"; }
  const DeviceInfo& info() const override { return info_; }
  std::unique_ptr<Stream> create_stream() override { return nullptr; }
  std::unique_ptr<Event> create_event() override { return nullptr; }
  std::unique_ptr<Graph> create_graph(std::span<const Launch>) override { return nullptr; }
  void* allocate_pinned(std::size_t bytes) override { return std::malloc(bytes); }
  void release_pinned(void* pointer) noexcept override { std::free(pointer); }

  std::set<void*> live;

 private:
  void* allocate_raw(std::size_t bytes, const std::string&) override {
    return *live.insert(std::malloc(bytes)).first;
  }
  void release_raw(void* pointer) noexcept override {
    EXPECT_EQ(live.erase(pointer), 1u);
    std::free(pointer);
  }
  DeviceInfo info_;
};

TEST(DeviceMemory, SaysWhoHoldsHowMuch) {
  MemoryOnly device;
  {
    const Buffer<float> weights(device, 100, "weights");
    const Buffer<float> more(device, 20, "weights");
    const Buffer<int> empty(device, 0, "scratch");
    EXPECT_NE(empty.data(), nullptr);
    EXPECT_EQ(device.holdings(), (std::map<std::string, std::size_t>{{"weights", 480}, {"scratch", 0}}));
    EXPECT_EQ(device.counters().allocations, 3u);
  }
  EXPECT_TRUE(device.holdings().empty());
  EXPECT_EQ(device.counters().allocations, 3u);
}

TEST(DeviceMemory, BuffersFreeThemselvesOnceHoweverTheyMove) {
  MemoryOnly device;
  Buffer<int> first(device, 4, "a");
  Buffer<int> second(device, 8, "b");
  first = std::move(second);
  EXPECT_EQ(first.size(), 8u);
  EXPECT_EQ(device.holdings(), (std::map<std::string, std::size_t>{{"b", 32}}));
  const Buffer<int> third(std::move(first));
  EXPECT_EQ(first.data(), nullptr);
  EXPECT_EQ(device.live.size(), 1u);
  device.release(nullptr);
}

}  // namespace
}  // namespace m40llm
