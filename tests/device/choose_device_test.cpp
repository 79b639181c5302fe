#include <gtest/gtest.h>

#include <array>
#include <fstream>
#include <iterator>
#include <string>

#include "engine/device/cuda/cuda_device.hpp"
#include "engine/device/cuda/driver_needed.hpp"
#include "engine/device/image.hpp"
#include "engine/device/open.hpp"
#include "engine/error.hpp"
#include "tests/message_of.hpp"

/// Which device and which image: what can be said without a GPU.
namespace m40llm {
namespace {

using cuda::Gpu;

const Gpu kM40{.ordinal = 0, .name = "Tesla M40", .major = 5, .minor = 2};
const Gpu kKepler{.ordinal = 0, .name = "Tesla K40", .major = 3, .minor = 5};
const Gpu kJetson{.ordinal = 0, .name = "Tegra X1", .major = 5, .minor = 3};
const Gpu kHopper{.ordinal = 0, .name = "NVIDIA H200", .major = 9, .minor = 0};
const Gpu kBlackwell{.ordinal = 0, .name = "NVIDIA B200", .major = 10, .minor = 0};

TEST(RunsOn, FollowsTheRulesOfBinariesAndPtx) {
  EXPECT_TRUE(cuda::runs_on("sm_52", kM40));
  EXPECT_TRUE(cuda::runs_on("sm_52", kJetson));
  EXPECT_FALSE(cuda::runs_on("sm_53", kM40));
  EXPECT_FALSE(cuda::runs_on("sm_52", kHopper));
  EXPECT_TRUE(cuda::runs_on("compute_52", kM40));
  EXPECT_TRUE(cuda::runs_on("compute_52", kHopper));
  EXPECT_FALSE(cuda::runs_on("compute_52", kKepler));
  EXPECT_FALSE(cuda::runs_on("compute_90", kM40));
  EXPECT_FALSE(cuda::runs_on("sm_90", kBlackwell));
  EXPECT_TRUE(cuda::runs_on("sm_100", kBlackwell));
  EXPECT_TRUE(cuda::runs_on("sm_90a", kHopper));
  EXPECT_FALSE(cuda::runs_on("compute_90a", kBlackwell));
  EXPECT_FALSE(cuda::runs_on("host", kM40));
  EXPECT_FALSE(cuda::runs_on("sm_", kM40));
  EXPECT_FALSE(cuda::runs_on("sm_52xy", kM40));
}

constexpr std::array<Image, 4> kImages = {
    Image{.source = "a", .arch = "compute_52", .ptx = true, .hash = 0, .data = {}, .kernels = {}},
    Image{.source = "a", .arch = "sm_52", .ptx = false, .hash = 0, .data = {}, .kernels = {}},
    Image{.source = "b", .arch = "sm_52", .ptx = false, .hash = 0, .data = {}, .kernels = {}},
    Image{.source = "a", .arch = "sm_90", .ptx = false, .hash = 0, .data = {}, .kernels = {}}};

TEST(ChooseImage, TakesMachineCodeBeforePtx) {
  EXPECT_EQ(cuda::choose_image(kImages, "auto", kM40), "sm_52");
  EXPECT_EQ(cuda::choose_image(kImages, "auto", kHopper), "sm_90");
  EXPECT_EQ(cuda::choose_image(kImages, "auto", kBlackwell), "compute_52");
  EXPECT_EQ(cuda::choose_image(kImages, "compute_52", kHopper), "compute_52");
}

TEST(ChooseImage, SaysWhyAnImageCannotBe) {
  const auto message = [](const std::string& wanted, const Gpu& gpu) {
    return message_of<std::exception>([&] { cuda::choose_image(kImages, wanted, gpu); });
  };
  EXPECT_EQ(
      message("sm_52", kHopper),
      "image 'sm_52' does not run on NVIDIA H200 (sm_90): machine code runs on the GPUs it was made for");
  EXPECT_EQ(message("compute_52", kKepler),
            "image 'compute_52' does not run on Tesla K40 (sm_35): the GPU is older than the image");
  EXPECT_EQ(message("sm_86", kHopper), "no image 'sm_86' in this build; it has compute_52, sm_52, sm_90");
  EXPECT_EQ(message("auto", kKepler),
            "no image of this build runs on Tesla K40 (sm_35); it has compute_52, sm_52, sm_90");
}

TEST(Images, EveryKernelIsThereForEveryArch) {
  ASSERT_FALSE(images().empty());
  EXPECT_EQ(images_toolkit(), "12.9.86");
  for (const Image& image : images()) {
    SCOPED_TRACE(std::string(image.source) + " " + std::string(image.arch));
    EXPECT_FALSE(image.data.empty());
    EXPECT_NE(image.hash, 0u);
    ASSERT_FALSE(image.kernels.empty());
    for (const KernelResources& kernel : image.kernels) {
      EXPECT_EQ(find_image(image.arch, kernel.name), &image);
      EXPECT_EQ(find_resources(image.arch, kernel.name), &kernel);
      EXPECT_EQ(kernel.registers == 0, image.ptx) << kernel.name;
      EXPECT_EQ(kernel.code_hash == 0, image.ptx) << kernel.name;
      EXPECT_NE(code_hash(kernel.name), 0u);
      EXPECT_NE(find_image("compute_52", kernel.name), nullptr) << kernel.name;
      EXPECT_NE(find_image("sm_52", kernel.name), nullptr) << kernel.name;
    }
  }
  EXPECT_EQ(find_image("sm_52", "no_such_kernel"), nullptr);
  EXPECT_EQ(find_resources("sm_10", images().front().kernels.front().name), nullptr);
  EXPECT_THROW(code_hash("no_such_kernel"), Error);
}

TEST(OpenDevice, RefusesWhatItDoesNotKnow) {
  for (const char* name : {"", "gpu", "cuda:", "cuda:x", "cuda:-1", "cuda:1x", "simt:0", "SIMT"}) {
    EXPECT_THROW(open_device({.device = name}), UsageError) << name;
  }
}

TEST(OpenDevice, RefusesTheSimtDeviceWhereAGpuWasAskedFor) {
  EXPECT_EQ(message_of<std::exception>([] { open_device({.device = "simt", .require_sm52 = true}); }),
            "a GPU of sm_52 is required, and --device simt is none");
  EXPECT_EQ(message_of<std::exception>([] { open_device({.device = "simt", .image = "sm_52"}); }),
            "image 'sm_52' needs a GPU, the SIMT device has no images, and --device simt is none");
}

TEST(DriverNeeded, StandsInTheReadme) {
  std::ifstream file(M40LLM_ROOT "/README.md");
  const std::string readme{std::istreambuf_iterator<char>(file), {}};
  for (const cuda::DriverNeeded& needed : {cuda::kMachineCodeNeeds, cuda::kPtxNeeds}) {
    const std::string row = "| " + std::to_string(needed.branch) + " or later | " + needed.what;
    EXPECT_NE(readme.find(row), std::string::npos) << row;
  }
  EXPECT_NE(readme.find("| up to " + std::to_string(cuda::kLastBranchForMaxwell) + " | Maxwell"),
            std::string::npos);
}

TEST(Describe, SaysDeviceAndImageInOneLine) {
  DeviceInfo info{.kind = DeviceKind::cuda,
                  .name = "NVIDIA H200",
                  .arch = "sm_90",
                  .image = "compute_52",
                  .driver = "",
                  .n_sms = 132};
  EXPECT_EQ(describe(info), "device: NVIDIA H200 (sm_90, 132 SMs), kernels compute_52");
  info = {.kind = DeviceKind::simt,
          .name = "SIMT device on X",
          .arch = "simt",
          .image = "host",
          .driver = "",
          .n_sms = 2};
  EXPECT_EQ(describe(info), "device: SIMT device on X (2 threads), kernels host (no GPU: times are a CPU's)");
  info.why_no_gpu = "the driver lists none";
  EXPECT_EQ(describe(info),
            "device: SIMT device on X (2 threads), kernels host (no GPU: the driver lists none; times are a "
            "CPU's)");
}

}  // namespace
}  // namespace m40llm
