#include <dlfcn.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <sstream>
#include <string>

#include "engine/device/buffer.hpp"
#include "engine/device/cuda/cuda_device.hpp"
#include "engine/device/image.hpp"
#include "engine/device/open.hpp"
#include "engine/error.hpp"
#include "tests/device/fake_cuda.hpp"
#include "tests/message_of.hpp"

/// How the CUDA device calls the driver and what it makes of the driver's errors: on the driver of
/// fake_cuda.hpp alone.
namespace m40llm {
namespace {

struct Params {
  int first = 0;
};

class FakeDriver : public testing::Test {
 protected:
  void SetUp() override {
    library_ = dlopen("libcuda.so.1", RTLD_NOW);
    if (library_ == nullptr || dlsym(library_, "fake_cuda_log") == nullptr)
      GTEST_SKIP() << "not on the driver for tests";
    unset();
    clear();
  }
  void TearDown() override { unset(); }
  static void unset() {
    for (const char* name :
         {"FAKE_CUDA_GPUS", "FAKE_CUDA_DRIVER", "FAKE_CUDA_FAIL", "FAKE_CUDA_MEMORY", "M40LLM_REQUIRE_SM52"})
      unsetenv(name);
  }

  std::string log() const { return reinterpret_cast<const char* (*)()>(dlsym(library_, "fake_cuda_log"))(); }
  void clear() const { reinterpret_cast<void (*)()>(dlsym(library_, "fake_cuda_clear"))(); }
  int alive() const { return reinterpret_cast<int (*)()>(dlsym(library_, "fake_cuda_alive"))(); }

  /// A kernel of the build, whichever.
  static std::string any_kernel() { return std::string(images().front().kernels.front().name); }

  void* library_ = nullptr;
};

TEST_F(FakeDriver, TwoIdenticalGpusAreToldApart) {
  setenv("FAKE_CUDA_GPUS", "9.0,9.0", 1);
  DeviceOptions options;
  options.device = "cuda:1";
  const DeviceInfo second = open_device(options)->info();
  EXPECT_EQ(second.ordinal, 1);
  EXPECT_EQ(second.pci_id, "0000:3c:00.0");
  EXPECT_EQ(open_device({})->info().pci_id, "0000:3b:00.0");
}

TEST_F(FakeDriver, TakesTheM40FirstThenTheFirst) {
  setenv("FAKE_CUDA_GPUS", "9.0,5.2,8.0", 1);
  EXPECT_EQ(open_device({})->info().name, "Fake 1");
  EXPECT_EQ(open_device({})->info().image, "sm_52");
  EXPECT_EQ(open_device({.device = "cuda:2"})->info().arch, "sm_80");
  EXPECT_EQ(open_device({.device = "cuda:2"})->info().image, "compute_52");
  EXPECT_EQ(message_of([] { open_device({.device = "cuda:3"}); }),
            "no device cuda:3: there are 3 GPUs, from cuda:0 on");
  setenv("FAKE_CUDA_GPUS", "9.0,8.0", 1);
  EXPECT_EQ(open_device({})->info().name, "Fake 0");
}

TEST_F(FakeDriver, RefusesOtherGpusWhereTheM40IsRequired) {
  EXPECT_EQ(message_of([] { open_device({.require_sm52 = true}); }),
            "a GPU of sm_52 is required, and Fake 0 is sm_90");
  setenv("M40LLM_REQUIRE_SM52", "1", 1);
  EXPECT_EQ(message_of([] { open_device({}); }), "a GPU of sm_52 is required, and Fake 0 is sm_90");
  setenv("FAKE_CUDA_GPUS", "9.0,5.2", 1);
  EXPECT_EQ(open_device({})->info().arch, "sm_52");
  EXPECT_THROW(open_device({.device = "cuda:0"}), Error);
}

TEST_F(FakeDriver, RefusesFlagsOfTheSimtDevice) {
  for (const auto& [options, flag] :
       {std::pair{DeviceOptions{.simt_order = SimtOrder::descending}, "--order"},
        {DeviceOptions{.simt_seed = 3}, "--seed"},
        {DeviceOptions{.device = "cuda", .simt_workers = 2}, "--workers"}}) {
    EXPECT_EQ(
        message_of([&] { open_device(options); }),
        std::string(flag) + " is of the SIMT device, and Fake 0 is a GPU: expected with --device simt alone");
  }
}

TEST_F(FakeDriver, SaysThatThereIsNoGpu) {
  setenv("FAKE_CUDA_GPUS", "", 1);
  EXPECT_EQ(message_of([] { open_device({.device = "cuda"}); }).find("no CUDA device: "), 0u);
  EXPECT_EQ(message_of([] { open_device({.device = "cuda:0"}); }).find("no CUDA device: "), 0u);
  EXPECT_EQ(message_of([] {
              open_device({.require_sm52 = true});
            }).find("a GPU of sm_52 is required: no CUDA device: "),
            0u);
}

TEST_F(FakeDriver, ObeysTheEnvironmentHoweverItSaysYes) {
  for (const char* yes : {"1", "true", "TRUE", "yes", "Yes", "on"}) {
    setenv("M40LLM_REQUIRE_SM52", yes, 1);
    EXPECT_EQ(message_of([] { open_device({}); }), "a GPU of sm_52 is required, and Fake 0 is sm_90") << yes;
    EXPECT_EQ(message_of([] { open_device({.device = "simt"}); }),
              "a GPU of sm_52 is required, and --device simt is none")
        << yes;
  }
  for (const char* no : {"", "0", "false", "NO", "off"}) {
    setenv("M40LLM_REQUIRE_SM52", no, 1);
    EXPECT_EQ(open_device({})->info().arch, "sm_90") << no;
  }
  for (const char* neither : {"2", "y", "sm_52", " 1", "truely"}) {
    setenv("M40LLM_REQUIRE_SM52", neither, 1);
    for (const bool flag : {false, true}) {
      EXPECT_EQ(message_of<UsageError>([&] { open_device({.device = "simt", .require_sm52 = flag}); }),
                std::string("the environment's M40LLM_REQUIRE_SM52='") + neither +
                    "' is neither yes nor no: expected 1, true, yes, on, 0, false, no, off or nothing");
    }
  }
}

TEST_F(FakeDriver, WhyThereIsNoGpuIsKept) {
  setenv("FAKE_CUDA_FAIL", "cuDeviceGetCount=999", 1);  // cuInit is called once a process and may be done
  const std::unique_ptr<Device> device = open_device({});
  EXPECT_EQ(device->info().kind, DeviceKind::simt);
  EXPECT_EQ(device->info().why_no_gpu, "cuDeviceGetCount: CUDA_ERROR_UNKNOWN: as ordered");
  EXPECT_NE(describe(device->info())
                .find("(no GPU: cuDeviceGetCount: CUDA_ERROR_UNKNOWN: as ordered; times are a CPU's)"),
            std::string::npos)
      << describe(device->info());
  EXPECT_EQ(message_of([] { open_device({.device = "cuda"}); }),
            "no CUDA device: cuDeviceGetCount: CUDA_ERROR_UNKNOWN: as ordered");
  unsetenv("FAKE_CUDA_FAIL");
  EXPECT_EQ(open_device({.device = "simt"})->info().why_no_gpu, "");
}

/// What no driver is good for is said with what is: the one found, and those needed.
constexpr const char* kNeeded =
    "; needed: 525 or later for machine code of CUDA 12.9, 575 or later for PTX of CUDA 12.9; 580 is the "
    "last "
    "for Maxwell (sm_52)";

TEST_F(FakeDriver, NamesTheDriverNeededWhereItListsNoGpu) {
  setenv("FAKE_CUDA_GPUS", "", 1);
  setenv("FAKE_CUDA_DRIVER", "13010", 1);
  const std::string why = open_device({})->info().why_no_gpu;
  EXPECT_NE(why.find("driver found: CUDA 13.1"), std::string::npos) << why;
  EXPECT_NE(why.find(kNeeded), std::string::npos) << why;
}

TEST_F(FakeDriver, RefusesAnOldDriverByName) {
  setenv("FAKE_CUDA_GPUS", "5.2", 1);
  setenv("FAKE_CUDA_DRIVER", "12000", 1);
  EXPECT_EQ(open_device({})->info().image, "sm_52");
  std::string message = message_of([] { open_device({.image = "compute_52"}); });
  EXPECT_EQ(
      message.find("kernels compute_52 do not run here: PTX of CUDA 12.9 needs a driver of CUDA 12.9 (575 or "
                   "later); driver found: CUDA 12.0"),
      0u)
      << message;
  EXPECT_NE(message.find(kNeeded), std::string::npos) << message;
  setenv("FAKE_CUDA_DRIVER", "11080", 1);
  message = message_of([] { open_device({}); });
  EXPECT_EQ(
      message.find(
          "kernels sm_52 do not run here: machine code of CUDA 12.9 needs a driver of CUDA 12.0 (525 or "
          "later); driver found: CUDA 11.8"),
      0u)
      << message;
}

TEST_F(FakeDriver, NamesTheDriverNeededWhereAModuleDoesNotLoad) {
  const std::string name = any_kernel();
  const std::unique_ptr<Device> device = open_device({.image = "compute_52"});
  const std::unique_ptr<Stream> stream = device->create_stream();
  for (const char* error : {"200", "209", "218", "222"}) {
    setenv("FAKE_CUDA_FAIL", (std::string("cuModuleLoadDataEx=") + error).c_str(), 1);
    const std::string message = message_of<DeviceFault>([&] {
      stream->launch(Kernel<Params>{name.c_str(), nullptr}, {}, {});
    });
    EXPECT_NE(message.find("driver found: CUDA 12.9"), std::string::npos) << message;
    EXPECT_NE(message.find(kNeeded), std::string::npos) << message;
  }
  setenv("FAKE_CUDA_FAIL", "cuModuleLoadDataEx=2", 1);
  const std::string message = message_of<DeviceFault>([&] {
    stream->launch(Kernel<Params>{name.c_str(), nullptr}, {}, {});
  });
  EXPECT_EQ(message.find("driver found"), std::string::npos) << message;
}

TEST_F(FakeDriver, SaysWhoHoldsTheMemoryThatIsNotThere) {
  const std::unique_ptr<Device> device = open_device({});
  const Buffer<char> weights(*device, 1'000'000, "weights");
  EXPECT_EQ(device->free_bytes(), 48'576u);
  EXPECT_EQ(
      message_of<OutOfMemory>([&] { device->allocate(100'000, "kv_cache"); }),
      "not enough memory: 100.0 kB for 'kv_cache' are needed; Fake 0 has 48.6 kB free and holds 1.0 MB: "
      "weights 1.0 MB");
}

TEST_F(FakeDriver, ReadsTheM40sBandwidthOffItsClock) {
  const std::unique_ptr<Device> device = open_device({});
  EXPECT_NEAR(device->info().bandwidth_bytes_per_s, 288.4e9, 0.05e9);
  EXPECT_TRUE(device->info().ecc);
  EXPECT_EQ(device->info().driver.substr(0, 4), "12.9");
}

TEST_F(FakeDriver, LoadsOnceAndLaunchesWithTheParameters) {
  const std::string name = any_kernel();
  const std::unique_ptr<Device> device = open_device({.image = "compute_52"});
  const std::unique_ptr<Stream> stream = device->create_stream();
  const Kernel<Params> kernel{name.c_str(), nullptr};
  EXPECT_EQ(log().find("cuModuleLoadDataEx"), std::string::npos) << "loaded before it was needed";
  stream->launch(kernel, {.grid = {3, 2}, .block = 64, .shared_bytes = 128}, {.first = 41});
  stream->launch(kernel, {}, {.first = 42});
  const std::string text = log();
  EXPECT_NE(text.find("cuStreamCreate(non-blocking)"), std::string::npos);
  EXPECT_NE(text.find("cuModuleLoadDataEx(ptx)"), std::string::npos);
  EXPECT_EQ(text.find("cuModuleLoadDataEx"), text.rfind("cuModuleLoadDataEx"));
  EXPECT_NE(text.find("cuLaunchKernel(" + name + " grid 3 2 1 block 64 1 1 shared 128 param 41)"),
            std::string::npos)
      << text;
  EXPECT_NE(text.find("cuLaunchKernel(" + name + " grid 1 1 1 block 32 1 1 shared 0 param 42)"),
            std::string::npos)
      << text;
  EXPECT_EQ(device->counters().launches, 2u);
}

TEST_F(FakeDriver, MakesAGraphOfNodesInAChain) {
  const std::string name = any_kernel();
  const std::unique_ptr<Device> device = open_device({});
  const std::unique_ptr<Stream> stream = device->create_stream();
  const Kernel<Params> kernel{name.c_str(), nullptr};
  const std::vector<Launch> launches{Launch(kernel, {.grid = {3, 2}, .block = 64, .shared_bytes = 128}, {41}),
                                     Launch(kernel, {}, {42}), Launch(kernel, {}, {43})};
  const std::unique_ptr<Graph> graph = device->create_graph(launches);
  std::string text = log();
  text.erase(0, text.find(" cuGraphCreate"));
  const auto node = [&](const std::string& rest) { return " cuGraphAddKernelNode(" + name + rest + ")"; };
  // The kernel is loaded for the first of them.
  EXPECT_EQ(text.substr(text.find(" cuGraphAddKernelNode")),
            node(" grid 3 2 1 block 64 1 1 shared 128 param 41 first") +
                node(" grid 1 1 1 block 32 1 1 shared 0 param 42 behind the last") +
                node(" grid 1 1 1 block 32 1 1 shared 0 param 43 behind the last") +
                " cuGraphInstantiateWithFlags(0)");
  clear();
  stream->launch(*graph);
  stream->launch(*graph);
  EXPECT_EQ(log(), " cuGraphLaunch() cuGraphLaunch()");
  EXPECT_EQ(device->counters().launches, 2u);
  EXPECT_EQ(device->counters().kernels, 6u);
}

/// Kernels of the GPU's own code that wait for earlier ones themselves. PTX for an older arch has no such wait.
TEST_F(FakeDriver, AKernelThatWaitsItselfBeginsBeforeTheOneBeforeItEnds) {
  const std::string name = any_kernel();
  const Kernel<Params> kernel{name.c_str(), nullptr};
  const LaunchConfig overlaps{.grid = {}, .overlaps = true};
  const std::vector<Launch> launches{Launch(kernel, overlaps, {41}), Launch(kernel, {}, {42}),
                                     Launch(kernel, overlaps, {43})};
  const auto node = [&](int param, const std::string& place) {
    return " cuGraphAddKernelNode(" + name + " grid 1 1 1 block 32 1 1 shared 0 param " +
           std::to_string(param) + place + ")";
  };
  const auto nodes_of = [&](const char* image) {
    const std::unique_ptr<Device> device = open_device({.image = image});
    clear();
    const std::unique_ptr<Graph> graph = device->create_graph(launches);
    const std::string text = log();
    return text.substr(text.find(" cuGraphAddKernelNode"));
  };
  const std::string first = node(41, " first");
  const std::string end = " cuGraphInstantiateWithFlags(0)";
  EXPECT_EQ(nodes_of("sm_90"), first + node(42, " behind the last") + node(43, " first") +
                                   " cuGraphAddDependencies_v2(1 of type 1 from port 1)" + end);
  EXPECT_EQ(nodes_of("compute_52"),
            first + node(42, " behind the last") + node(43, " behind the last") + end);
  setenv("FAKE_CUDA_GPUS", "5.2", 1);
  EXPECT_EQ(nodes_of("sm_52"), first + node(42, " behind the last") + node(43, " behind the last") + end);
}

TEST_F(FakeDriver, NamesTheCallOfAGraphThatFails) {
  const std::string name = any_kernel();
  {
    const std::unique_ptr<Device> device = open_device({});
    const std::unique_ptr<Stream> stream = device->create_stream();
    const Kernel<Params> kernel{name.c_str(), nullptr};
    const std::vector<Launch> launches{Launch(kernel, {}, {41}), Launch(kernel, {}, {42})};
    const std::string where = "kernel '" + name + "' (grid 1x1, block 32, 0 bytes of shared memory): ";
    const std::string error = ": CUDA_ERROR_UNKNOWN: as ordered";
    for (const auto& [call, begin] : {std::pair("cuGraphCreate", std::string()),
                                      {"cuGraphAddKernelNode", where},
                                      {"cuGraphInstantiateWithFlags", std::string()}}) {
      const int before = alive();
      setenv("FAKE_CUDA_FAIL", (std::string(call) + "=999").c_str(), 1);
      EXPECT_EQ(message_of<DeviceFault>([&] { device->create_graph(launches); }), begin + call + error);
      if (call != std::string("cuGraphAddKernelNode")) continue;
      EXPECT_EQ(alive(), before + 1) << "the module alone";
    }
    unsetenv("FAKE_CUDA_FAIL");
    const std::unique_ptr<Graph> graph = device->create_graph(launches);
    setenv("FAKE_CUDA_FAIL", "cuGraphLaunch=999", 1);
    EXPECT_EQ(message_of<DeviceFault>([&] { stream->launch(*graph); }), "cuGraphLaunch" + error);
    EXPECT_EQ(device->counters().kernels, 0u);
    unsetenv("FAKE_CUDA_FAIL");
    stream->launch(*graph);
    setenv("FAKE_CUDA_FAIL", "cuStreamSynchronize=999", 1);
    EXPECT_EQ(
        message_of<DeviceFault>([&] { stream->synchronize(); }),
        "cuStreamSynchronize" + error + " (last kernel launched: " + name + ", the last of a graph of 2)");
    unsetenv("FAKE_CUDA_FAIL");
    stream->launch(launches.front());
    setenv("FAKE_CUDA_FAIL", "cuStreamSynchronize=999", 1);
    EXPECT_EQ(message_of<DeviceFault>([&] { stream->synchronize(); }),
              "cuStreamSynchronize" + error + " (last kernel launched: " + name + ")");
  }
  EXPECT_EQ(alive(), 0);
}

TEST_F(FakeDriver, RefusesAGraphOfWhatItCannotLaunch) {
  const std::string name = any_kernel();
  const std::unique_ptr<Device> device = open_device({});
  const Kernel<Params> kernel{name.c_str(), nullptr};
  EXPECT_EQ(
      message_of<LaunchRefused>([&] {
        device->create_graph(std::vector{Launch(kernel, {}, {}), Launch("cublasSgemv", [](Stream&) {})});
      }),
      "'cublasSgemv', launch 1 of 2, is a library's call; expected a kernel, which is all that a graph is "
      "made of");
  EXPECT_EQ(log().find("cuGraphCreate"), std::string::npos);
  EXPECT_NE(message_of<LaunchRefused>([&] {
              device->create_graph(std::vector{Launch(kernel, {.grid = {}, .block = 544}, {})});
            }).find("allow blocks of 512 threads"),
            std::string::npos);
  EXPECT_EQ(message_of<LaunchRefused>([&] {
              device->create_graph(std::vector{Launch(kernel, {.grid = {49}, .resident = true}, {})});
            }).find("kernel '" + name + "' (grid 49x1, block 32, 0 bytes of shared memory): its blocks wait"),
            0u);
}

TEST_F(FakeDriver, RefusesLaunchesThatCannotBe) {
  const std::string name = any_kernel();
  const std::unique_ptr<Device> device = open_device({});
  const std::unique_ptr<Stream> stream = device->create_stream();
  const auto message = [&](const LaunchConfig& config) {
    return message_of<LaunchRefused>([&] {
      stream->launch(Kernel<Params>{name.c_str(), nullptr}, config, {});
    });
  };
  for (const unsigned block : {0u, 1u, 33u, 1056u}) {
    EXPECT_NE(message({.grid = {}, .block = block}).find("a multiple of 32 threads, at most 1024"),
              std::string::npos)
        << block;
  }
  EXPECT_NE(message({.grid = {}, .block = 544}).find("allow blocks of 512 threads"), std::string::npos);
  EXPECT_NE(message({.grid = {}, .shared_bytes = 49153}).find("more than the 49152 a block has"),
            std::string::npos);
  EXPECT_NE(message({.grid = {0}}).find("a grid is 1 to"), std::string::npos);
  EXPECT_NE(message({.grid = {1, 65536}}).find("a grid is 1 to"), std::string::npos);
  // 24 SMs with two blocks each.
  EXPECT_EQ(message({.grid = {48}, .resident = true}), "(no error)");
  EXPECT_EQ(message({.grid = {49}}), "(no error)");
  EXPECT_EQ(message({.grid = {7, 7}, .resident = true}),
            "kernel '" + name +
                "' (grid 7x7, block 32, 0 bytes of shared memory): its blocks wait for each other, and only "
                "48 are on the "
                "device at once (2 on each of 24 SMs)");
}

TEST_F(FakeDriver, CopiesSmallSourcesBeforeTheDriverReadsThem) {
  const std::unique_ptr<Device> device = open_device({});
  const std::unique_ptr<Stream> stream = device->create_stream();
  const PinnedBuffer<std::byte> pinned(*device, 65537);
  const Buffer<std::byte> buffer(*device, 65537, "test");
  std::ostringstream address;
  address << static_cast<const void*>(pinned.span().data());
  stream->copy_to_device(buffer.data(), pinned.span().data(), 65536);
  EXPECT_EQ(log().find("cuMemcpyHtoDAsync(" + address.str() + ")"), std::string::npos);
  stream->copy_to_device(buffer.data(), pinned.span().data(), 65537);
  EXPECT_NE(log().find("cuMemcpyHtoDAsync(" + address.str() + ")"), std::string::npos);
}

TEST_F(FakeDriver, CopiesLetGoOfOrdinaryMemoryBeforeTheyReturn) {
  const std::unique_ptr<Device> device = open_device({});
  const std::unique_ptr<Stream> stream = device->create_stream();
  const PinnedBuffer<std::byte> pinned(*device, 65537);
  std::vector<std::byte> ordinary(65537);
  const Buffer<std::byte> buffer(*device, 65537, "test");
  const auto waits = [&](const auto& copy) {
    clear();
    copy();
    return log().find("cuStreamSynchronize") != std::string::npos;
  };
  EXPECT_TRUE(waits([&] { stream->copy_to_device(buffer.data(), ordinary.data(), 65537); }));
  EXPECT_FALSE(waits([&] { stream->copy_to_device(buffer.data(), ordinary.data(), 65536); })) << "taken";
  EXPECT_TRUE(waits([&] { stream->copy_to_host(ordinary.data(), buffer.data(), 1); }));
  EXPECT_FALSE(waits([&] { stream->copy_to_device(buffer.data(), pinned.span().data(), 65537); }));
  EXPECT_FALSE(waits([&] { stream->copy_to_host(pinned.span().data(), buffer.data(), 65537); }));
  EXPECT_FALSE(waits([&] { stream->copy_to_host(pinned.span().data() + 65536, buffer.data(), 1); }));
  EXPECT_EQ(device->counters().synchronizations, 0u);
}

TEST_F(FakeDriver, NamesTheCallAndTheError) {
  const std::string name = any_kernel();
  const std::unique_ptr<Device> device = open_device({.image = "compute_52"});
  const std::unique_ptr<Stream> stream = device->create_stream();
  const auto launch = [&] { stream->launch(Kernel<Params>{name.c_str(), nullptr}, {}, {}); };

  setenv("FAKE_CUDA_FAIL", "cuModuleLoadDataEx=218", 1);
  std::string message = message_of<DeviceFault>(launch);
  EXPECT_NE(message.find("ptxas: line 7, as ordered"), std::string::npos) << message;
  EXPECT_NE(message.find("CUDA_ERROR_INVALID_PTX"), std::string::npos) << message;
  EXPECT_NE(message.find("for compute_52"), std::string::npos) << message;

  setenv("FAKE_CUDA_FAIL", "cuLaunchKernel=700", 1);
  message = message_of<DeviceFault>(launch);
  EXPECT_EQ(message, "kernel '" + name +
                         "' (grid 1x1, block 32, 0 bytes of shared memory): cuLaunchKernel: "
                         "CUDA_ERROR_ILLEGAL_ADDRESS: as ordered");
  EXPECT_EQ(device->counters().launches, 0u);

  unsetenv("FAKE_CUDA_FAIL");
  launch();
  setenv("FAKE_CUDA_FAIL", "cuStreamSynchronize=700", 1);
  message = message_of<DeviceFault>([&] { stream->synchronize(); });
  EXPECT_EQ(message, "cuStreamSynchronize: CUDA_ERROR_ILLEGAL_ADDRESS: as ordered (last kernel launched: " +
                         name + ")");

  setenv("FAKE_CUDA_FAIL", "cuMemAlloc=9999", 1);
  message = message_of<DeviceFault>([&] { device->allocate(64, "weights"); });
  EXPECT_EQ(message, "cuMemAlloc of 64 bytes for weights: error 9999");
}

TEST_F(FakeDriver, GivesEverythingBack) {
  {
    const std::string name = any_kernel();
    const std::unique_ptr<Device> device = open_device({});
    const std::unique_ptr<Stream> stream = device->create_stream();
    const std::unique_ptr<Event> event = device->create_event();
    const Buffer<int> buffer(*device, 100, "test");
    const PinnedBuffer<int> pinned(*device, 100);
    const Launch launch(Kernel<Params>{name.c_str(), nullptr}, {}, {});
    const std::unique_ptr<Graph> graph = device->create_graph(std::vector{launch});
    stream->launch(launch);
    EXPECT_EQ(alive(), 7);
  }
  EXPECT_EQ(alive(), 0);
}

TEST_F(FakeDriver, RefusesEventsAndGraphsOfAnotherDevice) {
  const std::unique_ptr<Device> one = open_device({});
  const std::unique_ptr<Device> other = open_device({});
  const std::unique_ptr<Event> event = other->create_event();
  EXPECT_THROW(one->create_stream()->record(*event), std::logic_error);
  const std::unique_ptr<Graph> graph = other->create_graph({});
  EXPECT_THROW(one->create_stream()->launch(*graph), std::logic_error);
}

}  // namespace
}  // namespace m40llm
