#include <gtest/gtest.h>

#include <algorithm>
#include <numeric>
#include <thread>

#include "engine/device/buffer.hpp"
#include "engine/device/cuda/cuda_device.hpp"
#include "engine/device/cuda/nvml.hpp"
#include "engine/device/open.hpp"
#include "engine/error.hpp"
#include "kernels/residual_add.h"
#include "tests/message_of.hpp"

/// The CUDA device: on a GPU where there is one, else skipped; and once more on the driver of fake_cuda.hpp.
namespace m40llm {
namespace {

class CudaDevice : public testing::Test {
 protected:
  void SetUp() override {
    try {
      cuda::list_gpus();
    } catch (const Error& error) {
      GTEST_SKIP() << error.what();
    }
    device_ = open_device({.device = "cuda"});
    stream_ = device_->create_stream();
  }
  void TearDown() override {
    if (device_ != nullptr) {
      EXPECT_TRUE(device_->holdings().empty());
    }
  }

  std::unique_ptr<Device> device_;
  std::unique_ptr<Stream> stream_;
};

TEST_F(CudaDevice, SaysWhatItIs) {
  const DeviceInfo& info = device_->info();
  EXPECT_EQ(info.kind, DeviceKind::cuda);
  EXPECT_FALSE(info.name.empty());
  EXPECT_EQ(info.arch.substr(0, 3), "sm_");
  EXPECT_GT(info.n_sms, 0);
  EXPECT_GT(info.memory_bytes, 0u);
  EXPECT_GT(info.l2_bytes, 0u);
  EXPECT_GT(info.bandwidth_bytes_per_s, 1e10);
  EXPECT_NE(info.driver.find('.'), std::string::npos);
  EXPECT_FALSE(info.image.empty());
  EXPECT_NO_THROW(cuda::gpu_state(*device_));
}

TEST_F(CudaDevice, CopiesThereAndBack) {
  // Small enough to be taken at once, and large enough not to be.
  for (const std::size_t n : {std::size_t{1}, std::size_t{4096}, std::size_t{100000}}) {
    std::vector<int> host(n);
    std::iota(host.begin(), host.end(), 7);
    const Buffer<int> buffer(*device_, n, "test");
    EXPECT_EQ(reinterpret_cast<std::uintptr_t>(buffer.data()) % 256, 0u);
    buffer.upload(*stream_, host);
    EXPECT_EQ(buffer.download(*stream_), host);
  }
  EXPECT_EQ(device_->counters().copies, 6u);
}

TEST_F(CudaDevice, CopiesFromPinnedMemoryThatIsThenChanged) {
  const PinnedBuffer<int> pinned(*device_, 1024);
  const Buffer<int> buffer(*device_, 1024, "test");
  for (int round = 0; round < 100; ++round) {
    std::ranges::fill(pinned.span(), round);
    stream_->copy_to_device(buffer.data(), pinned.span().data(), buffer.bytes());
    std::ranges::fill(pinned.span(), -1);
    ASSERT_EQ(buffer.download(*stream_), std::vector<int>(1024, round));
  }
}

TEST_F(CudaDevice, FillsBytes) {
  const Buffer<std::uint8_t> buffer(*device_, 1000, "test");
  stream_->fill(buffer.data(), 0xff, 1000);
  stream_->fill(buffer.data() + 10, 0x5a, 3);
  std::vector<std::uint8_t> expected(1000, 0xff);
  std::fill_n(expected.begin() + 10, 3, std::uint8_t{0x5a});
  EXPECT_EQ(buffer.download(*stream_), expected);
}

TEST_F(CudaDevice, TimesWhatLiesBetweenTwoEvents) {
  const std::unique_ptr<Event> begin = device_->create_event();
  const std::unique_ptr<Event> end = device_->create_event();
  const Buffer<std::uint8_t> buffer(*device_, 100000, "test");
  stream_->record(*begin);
  stream_->fill(buffer.data(), 1, buffer.bytes());
  stream_->record(*end);
  end->synchronize();
  EXPECT_GT(end->elapsed_us(*begin), 0.0);
  EXPECT_LT(end->elapsed_us(*begin), 1e6);
}

TEST_F(CudaDevice, ServesSeveralThreadsWithAStreamEach) {
  std::vector<int> sums(4);
  std::vector<std::jthread> threads;
  const auto work = [&](int i) {
    const Buffer<int> buffer(*device_, 1000, "thread");
    const std::unique_ptr<Stream> stream = device_->create_stream();
    for (int round = 0; round < 20; ++round) {
      buffer.upload(*stream, std::vector<int>(1000, i));
      const std::vector<int> back = buffer.download(*stream);
      sums[static_cast<std::size_t>(i)] += std::accumulate(back.begin(), back.end(), 0);
    }
  };
  // One after the other on the driver for tests, whose account is of one thread.
  const bool fake = device_->info().name.starts_with("Fake");
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back(work, i);
    if (fake) threads.back().join();
  }
  threads.clear();
  EXPECT_EQ(sums, (std::vector<int>{0, 20000, 40000, 60000}));
}

TEST_F(CudaDevice, SaysWhoFindsNoMemory) {
  const std::size_t bytes = std::size_t{1} << 50;
  const std::string message = message_of([&] { device_->allocate(bytes, "kv_cache"); });
  EXPECT_NE(message.find("1.1 PB for 'kv_cache' are needed"), std::string::npos) << message;
  EXPECT_NE(message.find(device_->info().name + " has "), std::string::npos) << message;
  EXPECT_NE(message.find(" free"), std::string::npos) << message;
  // And goes on.
  const Buffer<int> buffer(*device_, 10, "test");
  EXPECT_EQ(device_->holdings().size(), 1u);
}

TEST_F(CudaDevice, RefusesAnImageThatDoesNotRunHere) {
  const std::string arch = device_->info().arch;
  const std::string other = arch.starts_with("sm_5") ? "sm_90" : "sm_52";
  const std::string message = message_of([&] { open_device({.device = "cuda", .image = other}); });
  EXPECT_NE(message.find("image '" + other + "' does not run on " + device_->info().name + " (" + arch + ")"),
            std::string::npos)
      << message;
}

TEST_F(CudaDevice, RefusesAGpuThatIsNotThere) {
  EXPECT_NE(message_of([] { open_device({.device = "cuda:99"}); }).find("no device cuda:99"),
            std::string::npos);
}

TEST_F(CudaDevice, NamesAKernelThatNoImageHolds) {
  const Kernel<ResidualAddParams> kernel{"no_such_kernel", nullptr};
  const std::string message = message_of([&] { stream_->launch(kernel, {}, {}); });
  EXPECT_EQ(message, "no kernel 'no_such_kernel' in the images for " + device_->info().image);
}

TEST_F(CudaDevice, LaunchesAKernel) {
  constexpr int kN = 100;
  std::vector<float> x(kN), y(kN), expected(kN);
  for (std::size_t i = 0; i < kN; ++i) {
    x[i] = static_cast<float>(i);
    y[i] = 0.5f;
    expected[i] = x[i] + y[i];
  }
  const Buffer<float> device_x(*device_, kN, "x");
  const Buffer<float> device_y(*device_, kN, "y");
  device_x.upload(*stream_, x);
  device_y.upload(*stream_, y);
  const Kernel<ResidualAddParams> kernel{"residual_add", nullptr};
  stream_->launch(kernel, {.grid = {1}, .block = 128}, {.x = device_x.data(), .y = device_y.data(), .n = kN});
  EXPECT_EQ(device_x.download(*stream_), expected);
  EXPECT_EQ(device_->counters().launches, 1u);
}

}  // namespace
}  // namespace m40llm
