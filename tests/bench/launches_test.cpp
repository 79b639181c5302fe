// Variants that are more than a kernel: several launches, scratch and state, a grid made for the device's SMs.
#include <gtest/gtest.h>

#include "bench/op_suite.hpp"
#include "bench/provenance.hpp"
#include "engine/device/open.hpp"
#include "engine/device/simt/simt_device.hpp"
#include "engine/ops/residual_add.hpp"
#include "engine/ops/shapes.hpp"
#include "engine/ops/swiglu.hpp"

extern "C" {
void residual_add(ResidualAddParams);
void swiglu(SwigluParams);
}

namespace m40llm::bench {
namespace {

// x += swiglu(y, y), by way of scratch.
using Params = ResidualAddParams;

Launch add(float* x, const float* y, int n) {
  return Launch(Kernel<Params>{"residual_add", residual_add}, elementwise(n), Params{x, y, n});
}
std::vector<Launch> through(const Params& p, std::byte* scratch) {
  auto* const product = reinterpret_cast<float*>(scratch);
  return {
      Launch(Kernel<SwigluParams>{"swiglu", swiglu}, elementwise(p.n), SwigluParams{p.y, p.y, product, p.n}),
      add(p.x, product, p.n)};
}
std::size_t bytes(const Params& p, int) { return static_cast<std::size_t>(p.n) * sizeof(float); }
int chain(const Params&, int) { return 6; }

constexpr Variant<Params> kVariants[] = {
    {.name = "two",
     .kernel = {"residual_add", residual_add},
     .config = nullptr,
     .chain = chain,
     .all = [](const Params& p, int, const WorkMemory& memory) { return through(p, memory.scratch); },
     .scratch = bytes},
    {.name = "reads_what_nobody_wrote",
     .kernel = {"residual_add", residual_add},
     .config = nullptr,
     .chain = chain,
     .all =
         [](const Params& p, int, const WorkMemory& memory) {
           std::vector<Launch> launches = through(p, memory.scratch);
           launches.erase(launches.begin());
           return launches;
         },
     .scratch = bytes},
    {.name = "writes_behind_its_scratch",
     .kernel = {"residual_add", residual_add},
     .config = nullptr,
     .chain = chain,
     .all = [](const Params& p, int, const WorkMemory& memory) { return through(p, memory.scratch); },
     .scratch = [](const Params& p, int n_sms) { return bytes(p, n_sms) - 1; }},
    {.name = "adds_its_state",
     .kernel = {"residual_add", residual_add},
     .config = nullptr,
     .chain = chain,
     .all =
         [](const Params& p, int, const WorkMemory& memory) {
           std::vector<Launch> launches = through(p, memory.scratch);
           launches.push_back(add(p.x, reinterpret_cast<float*>(memory.state), p.n));
           return launches;
         },
     .scratch = bytes,
     .state = bytes},
    {.name = "leaves_its_state_changed",
     .kernel = {"residual_add", residual_add},
     .config = nullptr,
     .chain = chain,
     .all =
         [](const Params& p, int, const WorkMemory& memory) {
           std::vector<Launch> launches = through(p, memory.scratch);
           launches.push_back(add(reinterpret_cast<float*>(memory.state), p.y, p.n));
           return launches;
         },
     .scratch = bytes,
     .state = bytes},
    {.name = "by_sms",
     .kernel = {"residual_add", residual_add},
     .config = nullptr,
     .chain = chain,
     .all =
         [](const Params& p, int n_sms, const WorkMemory& memory) {
           std::vector<Launch> launches = through(p, memory.scratch);
           launches.back().config.grid.x = static_cast<unsigned>(n_sms);
           return launches;
         },
     .scratch = bytes},
};
const Op<Params> kOp{"scratched", "residual_add", kVariants, [](const Params&) { return Work{}; }};

class Scratched final : public OpSuite<Params> {
 public:
  Scratched() : OpSuite(kOp, "f32", {{"n"}}, {.smoke = {{300}}, .model = {}, .edge = {}, .bench = {}}) {}
  std::vector<std::string> inputs() const override { return {"random"}; }

 protected:
  Params without_pointers(const Shape& shape) const override { return {nullptr, nullptr, at(shape, "n")}; }
  std::vector<TensorMemory> tensors(const Shape&) const override { return {}; }
  std::vector<IntProduct> int_products(const Shape&) const override { return {}; }
  void fill(Params& params, const Case& c, int, Holder& holder) const override {
    Random random(c.seed, 1);
    const auto n = static_cast<std::size_t>(params.n);
    const std::vector<float> x = generate(n, [&] { return random.normal(); });
    const std::vector<float> y = generate(n, [&] { return random.normal(); });
    Expected<float> expected;
    for (std::size_t i = 0; i < n; ++i) {
      const double value = static_cast<double>(y[i]);
      expected.want.push_back(static_cast<double>(x[i]) + value * value / (1 + std::exp(-value)));
      expected.bound.push_back(1e-6 * (std::fabs(expected.want.back()) + 1));
    }
    params.y = holder.input(y);
    params.x = holder.in_place(x, std::move(expected));
  }
};

class Launches : public testing::Test {
 protected:
  static std::unique_ptr<Device> simt() {
    DeviceOptions options;
    options.device = "simt";
    return open_simt_device(options);
  }
  Verdict run(const char* variant) {
    const std::unique_ptr<Trial> trial = suite.trial(*device, {"scratched", variant, shape, "random", 1});
    Verdict verdict;
    for (int time = 0; time < 2; ++time) {  // what the first left in the scratch is gone at the second
      trial->reset(*stream);
      trial->launch(*stream);
      verdict = trial->judge(*stream);
    }
    return verdict;
  }
  const Scratched suite;
  const Shape shape{{"n", 300}};
  const std::unique_ptr<Device> device = simt();
  const std::unique_ptr<Stream> stream = device->create_stream();
};

TEST_F(Launches, TwoThroughScratchPass) { EXPECT_TRUE(run("two").passed); }

TEST_F(Launches, ScratchIsPoisonedBeforeEachRun) {
  const Verdict verdict = run("reads_what_nobody_wrote");
  EXPECT_FALSE(verdict.passed);
  EXPECT_GT(verdict.got, 1e38);
}

TEST_F(Launches, AWriteBehindTheScratchFails) { EXPECT_FALSE(run("writes_behind_its_scratch").passed); }

TEST_F(Launches, StateIsZerosBeforeEachRun) { EXPECT_TRUE(run("adds_its_state").passed); }

TEST_F(Launches, StateThatIsNotLeftAsZerosFails) { EXPECT_FALSE(run("leaves_its_state_changed").passed); }

TEST_F(Launches, AGridIsMadeForTheSms) {
  EXPECT_EQ(device->n_sms(), kGm200.n_sms) << "the SIMT device stands for an M40";
  EXPECT_EQ(suite.launches("by_sms", shape, 132).back().config.grid.x, 132U);
}

TEST_F(Launches, ARecordHoldsAllInOrder) {
  Json record;
  add_launches(record, "residual_add", suite.launches("two", shape, 24));
  EXPECT_EQ(record["launch"], launch_json(elementwise(300)));
  ASSERT_EQ(record["launches"].size(), 2U);
  EXPECT_EQ(record["launches"][0]["kernel"], "swiglu");
  EXPECT_EQ(record["launches"][1]["kernel"], "residual_add");
}

TEST_F(Launches, ALibrarysCallHasNoLaunchOfItsOwn) {
  int calls = 0;
  const Launch launch("library", [&](Stream&) { ++calls; });
  stream->launch(launch);
  EXPECT_EQ(calls, 1);
  Json record;
  add_launches(record, "library", {launch});
  EXPECT_TRUE(record["launch"].is_null());
  EXPECT_FALSE(record.contains("launches"));
}

}  // namespace
}  // namespace m40llm::bench
