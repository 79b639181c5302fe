#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <map>
#include <set>

#include "bench/op_suite.hpp"
#include "bench/suite.hpp"
#include "bench/weights.hpp"
#include "engine/device/image.hpp"
#include "engine/device/simt/simt_device.hpp"
#include "engine/ops/residual_add.hpp"

namespace m40llm::bench {
namespace {

class Suites : public testing::Test {
 protected:
  static DeviceOptions simt() {
    DeviceOptions options;
    options.device = "simt";
    return options;
  }
  std::unique_ptr<Device> device = open_simt_device(simt());
  std::unique_ptr<Stream> stream = device->create_stream();

  Verdict run(const Case& c) {
    const std::unique_ptr<Trial> trial = suite(c.op).trial(*device, c);
    trial->reset(*stream);
    trial->launch(*stream);
    return trial->judge(*stream);
  }
};

std::vector<Case> smoke_cases() {
  std::vector<Case> cases;
  for (const auto& suite : suites()) {
    for (const VariantInfo& variant : suite->variants()) {
      for (const Shape& shape : suite->shapes(Sweep::smoke)) {
        if (!suite->applies(variant.name, shape)) continue;
        for (const std::string& inputs : suite->inputs())
          cases.push_back({suite->op(), variant.name, shape, inputs, 1});
      }
    }
  }
  return cases;
}

TEST_F(Suites, SmokeCasesPass) {
  for (const Case& c : smoke_cases()) {
    const Verdict verdict = run(Case::parse(c.line()));
    EXPECT_TRUE(verdict.passed) << c.line() << ": error over bound " << verdict.error_over_bound << " at "
                                << verdict.worst;
    EXPECT_GT(verdict.n_outputs, 0U) << c.line();
  }
}

TEST_F(Suites, EveryVariantHasASmokeCase) {
  std::set<std::string> covered;
  for (const Case& c : smoke_cases()) covered.insert(c.op + "/" + c.variant);
  for (const auto& suite : suites()) {
    for (const VariantInfo& variant : suite->variants())
      EXPECT_TRUE(covered.contains(suite->op() + "/" + variant.name));
  }
}

/// The kernels that stand in exactly one of two sets, in words; empty if the sets are equal.
std::vector<std::string> without_counterpart(const std::set<std::string>& built,
                                             const std::set<std::string>& named) {
  std::vector<std::string> found;
  for (const std::string& kernel : built) {
    if (!named.contains(kernel)) found.push_back(kernel + " is built, but no variant of a suite launches it");
  }
  for (const std::string& kernel : named) {
    if (!built.contains(kernel)) found.push_back(kernel + " is a variant's, but in no image of kernels/");
  }
  return found;
}

TEST(Kernels, EachIsAVariantOfASuite) {
  // Of a whole step or of many, and so of no suite: tests of models and of the ring hold them against the ops' own.
  std::set<std::string> named{"persistent_decode/persistent_decode", "ring_decode/ring_decode"};
  for (const auto& suite : suites()) {
    for (const VariantInfo& variant : suite->variants()) {
      for (const Sweep sweep : {Sweep::smoke, Sweep::model, Sweep::edge}) {
        for (const Shape& shape : suite->shapes(sweep)) {
          if (!suite->applies(variant.name, shape)) continue;
          for (const Launch& launch : suite->launches(variant.name, shape, kGm200.n_sms)) {
            if (!launch.library_call) named.insert(suite->source() + "/" + launch.kernel.name);
          }
        }
      }
    }
  }
  std::map<std::string, std::set<std::string>, std::less<>> built;  // by arch
  for (const Image& image : images()) {
    for (const KernelResources& kernel : image.kernels)
      built[std::string(image.arch)].insert(std::string(image.source) + "/" + std::string(kernel.name));
  }
  ASSERT_TRUE(built.contains("sm_52"));
  for (const auto& [arch, kernels] : built)
    EXPECT_THAT(without_counterpart(kernels, named), testing::IsEmpty()) << arch;
}

TEST(Kernels, OneWithoutCounterpartIsFound) {
  EXPECT_THAT(without_counterpart({"a/x", "a/y"}, {"a/y", "a/z"}),
              testing::ElementsAre("a/x is built, but no variant of a suite launches it",
                                   "a/z is a variant's, but in no image of kernels/"));
}

TEST_F(Suites, NothingLaunchedFails) {
  for (const Case& c : smoke_cases()) {
    const std::unique_ptr<Trial> trial = suite(c.op).trial(*device, c);
    trial->reset(*stream);
    const Verdict verdict = trial->judge(*stream);
    EXPECT_FALSE(verdict.passed) << c.line();
    EXPECT_EQ(verdict.error_over_bound > 1, true) << c.line();
  }
}

TEST_F(Suites, LaunchingTwiceAfterResetsGivesTheSameBits) {
  for (const Case& c : smoke_cases()) {
    const std::unique_ptr<Trial> trial = suite(c.op).trial(*device, c);
    std::uint64_t hashes[2];
    for (std::uint64_t& hash : hashes) {
      trial->reset(*stream);
      trial->launch(*stream);
      hash = trial->judge(*stream).output_hash;
    }
    EXPECT_EQ(hashes[0], hashes[1]) << c.line();
    EXPECT_EQ(hashes[0], run(c).output_hash) << c.line();
  }
}

TEST_F(Suites, DeclaredChainsAreNotTooLong) {
  // A bound twenty times too wide at every element would judge nothing: the variant declares too large a d.
  for (const auto& suite : suites()) {
    if (!suite->op().starts_with("gemv_") || suite->judged_by_separate_ops()) continue;
    for (const VariantInfo& variant : suite->variants()) {
      const Verdict verdict = run({suite->op(), variant.name, {{"rows", 576}, {"cols", 768}}, "R", 1});
      EXPECT_GT(verdict.error_over_bound, 1.0 / 20) << suite->op() << "/" << variant.name;
      EXPECT_LT(verdict.error_over_bound, 2.5 / 4) << suite->op() << "/" << variant.name;  // nor too small
    }
  }
}

TEST_F(Suites, SeedsMatter) {
  Case c = Case::parse("gemv_f32/shared rows=5,cols=64 R seed=1");
  const std::uint64_t first = run(c).output_hash;
  c.seed = 2;
  EXPECT_NE(run(c).output_hash, first);
}

/// q and y in float, K and V of every position in half: a query head's of its KV head, which is read once.
TEST_F(Suites, WorkOfAttentionCountsTheCacheThatIsRead) {
  for (const VariantInfo& variant : suite("attention_decode").variants()) {
    for (const int context : {1, 10, 300}) {
      const Case c{
          "attention_decode",
          variant.name,
          {{"n_heads", 6}, {"n_kv_heads", 2}, {"head_dim", 64}, {"context", context}, {"head_major", 0}},
          "c"};
      EXPECT_EQ(suite(c.op).trial(*device, c)->work().bytes,
                2 * 6 * 64 * sizeof(float) + 2.0 * context * 2 * 64 * sizeof(half))
          << c.line();
    }
  }
}

TEST_F(Suites, BadCasesAreUsageErrors) {
  for (const char* line :
       {"gemv_f99/shared rows=5,cols=64 R seed=1", "gemv_f32/wrap rows=5,cols=64 R seed=1",
        "gemv_f32/shared rows=5,cols=64 Q seed=1", "gemv_f32/shared rows=5 R seed=1",
        "gemv_f32/shared cols=5,rows=64 R seed=1", "gemv_f32/shared rows=0,cols=64 R seed=1",
        "gemv_q8_0/shared rows=5,cols=33 R seed=1", "rms_norm/warp n_rows=1,width=33 random seed=1",
        "rope_neox/pair n_heads=1,head_dim=8,n_rotated=10,position=1 random seed=1",
        "kv_append/element n_kv_heads=1,head_dim=8,position=3,n_positions=3,head_major=0 random seed=1",
        "attention_decode/tile n_heads=3,n_kv_heads=2,head_dim=64,context=1,head_major=0 c seed=1",
        "attention_decode/tile n_heads=2,n_kv_heads=2,head_dim=136,context=1,head_major=0 c seed=1",
        "attention_decode/warps n_heads=2,n_kv_heads=2,head_dim=136,context=1,head_major=0 c seed=1",
        "attention_decode/split n_heads=2,n_kv_heads=2,head_dim=264,context=1,head_major=0 c seed=1",
        "attention_decode/split n_heads=16777216,n_kv_heads=8,head_dim=8,context=65536,head_major=0 c "
        "seed=1"}) {
    EXPECT_THROW(run(Case::parse(line)), UsageError) << line;
  }
}

/// Writes over a device buffer as a faulty kernel would.
template <class T>
void write(Stream& stream, T* at, T value) {
  stream.copy_to_device(at, &value, sizeof value);
}

TEST_F(Suites, AWriteBehindTheOutputFails) {
  Holder holder(*device);
  float* const y = holder.output<float>({{1, 2}, {}});
  const auto outputs = holder.take_outputs();
  for (const std::size_t behind : {std::size_t{0}, kGuard - 1}) {
    outputs[0]->reset(*stream);
    write(*stream, y, 1.0f);
    write(*stream, y + 1, 2.0f);
    OutputHash hash;
    Verdict verdict = nothing_judged();
    outputs[0]->judge(*stream, verdict, hash);
    EXPECT_TRUE(verdict.passed);
    write(*stream, y + 2 + behind, 3.0f);
    outputs[0]->judge(*stream, verdict = nothing_judged(), hash);
    EXPECT_FALSE(verdict.passed);
    EXPECT_EQ(verdict.worst, 4 + behind);
    EXPECT_EQ(verdict.got, 3);
  }
}

TEST_F(Suites, AWriteBesideAScatteredOutputFails) {
  Holder holder(*device);
  half* const y = holder.scattered_output<half>(8, {5, 2}, {{1, 2}, {}});
  const auto outputs = holder.take_outputs();
  outputs[0]->reset(*stream);
  write(*stream, y + 5, half{0x3c00});
  write(*stream, y + 2, half{0x4000});
  OutputHash hash;
  Verdict verdict = nothing_judged();
  outputs[0]->judge(*stream, verdict, hash);
  EXPECT_TRUE(verdict.passed);
  write(*stream, y + 3, half{0x4000});
  outputs[0]->judge(*stream, verdict = nothing_judged(), hash);
  EXPECT_FALSE(verdict.passed);
}

TEST_F(Suites, TakeTheirOwnShapes) {
  for (const auto& suite : suites()) {
    for (const Sweep sweep : {Sweep::smoke, Sweep::model, Sweep::edge, Sweep::bench}) {
      for (const Shape& shape : suite->shapes(sweep)) {
        int n_variants = 0;
        for (const VariantInfo& variant : suite->variants()) {
          if (!suite->applies(variant.name, shape)) continue;
          ++n_variants;
          const Case c{suite->op(), variant.name, shape, suite->inputs().front()};
          EXPECT_NO_THROW(suite->check(c)) << c.line();
        }
        EXPECT_GT(n_variants, 0) << suite->op() << " " << to_string(shape);
      }
    }
  }
}

/// Where a block, as the file has it, keeps its half d.
std::size_t place_of_d(Format format) { return format == Format::q6_k ? 208 : 0; }

TEST(ProductInputs, ExactClassesKeepTheirPromises) {
  for (const FormatTraits& traits : kFormats) {
    const Format format = traits.format;
    const auto block_size = static_cast<std::size_t>(traits.block);
    for (const std::size_t few_or_many : {32U, 1824U, 11008U}) {
      const std::size_t cols = (few_or_many + block_size - 1) / block_size * block_size;
      for (const char* inputs : {"E", "E2"}) {
        const ProductInputs made = make_product_inputs(inputs, format, 4, cols, 3);
        for (std::size_t row = 0; row < 4; ++row) {
          double sum = 0;
          int places = 0;
          double scale_before = 0;
          reference::for_each_weight(in_reference(format), made.a.row(row),
                                     [&](std::size_t i, const reference::Weight& w) {
                                       EXPECT_EQ(w.value(), std::round(w.value()));
                                       EXPECT_EQ(made.x[i], std::round(made.x[i]));
                                       EXPECT_NE(made.x[i], 0);
                                       if (inputs == std::string_view("E")) {
                                         EXPECT_NE(w.value(), 0);
                                       } else {
                                         EXPECT_TRUE(w.value() == 0 || std::fabs(w.value()) == 1);
                                         EXPECT_EQ(std::fmod(std::fabs(made.x[i]), 2), 1);
                                         EXPECT_GE(std::fabs(made.x[i]), 4097);
                                         EXPECT_LE(std::fabs(made.x[i]), 8191);
                                       }
                                       places += w.value() != 0;
                                       sum += w.expanded_magnitude() * std::fabs(made.x[i]);
                                     });
          EXPECT_LE(sum, 0x1p24) << inputs << " " << cols;
          if (inputs == std::string_view("E2")) {
            EXPECT_LE(places, 1800);
            EXPECT_GE(places, std::min<int>(1799, static_cast<int>(cols) - 1));
            EXPECT_EQ(places % 2, 1);
          }
          // Scales: powers of two, none like the one before.
          for (std::size_t b = 0; block_size > 1 && b < cols / block_size; ++b) {
            const std::byte* block = made.a.row(row).data() +
                                     b * reference::block_bytes(in_reference(format)) + place_of_d(format);
            const double d =
                std::fabs(reference::half_to_double(reference::detail::load<std::uint16_t>(block)));
            EXPECT_EQ(d, std::exp2(std::round(std::log2(d))));
            EXPECT_NE(d, scale_before);
            scale_before = d;
          }
        }
      }
    }
  }
  EXPECT_THROW(make_product_inputs("E", Format::q4_1, 1, 1 << 20, 1), UsageError);
  EXPECT_THROW(make_product_inputs("Z", Format::q4_1, 1, 32, 1), UsageError);
}

TEST(ProductInputs, SignsAreBothOfScalesAndMinima) {
  for (const FormatTraits& row : kFormats) {
    if (row.scale_bytes == 0) continue;
    const Format format = row.format;
    const bool has_minima = reference::blocks_of(in_reference(format)).has_minima;
    const ProductInputs made = make_product_inputs("R-signs", format, 8, 1024, 1);
    std::set<std::pair<bool, bool>> signs;
    for (std::size_t at = 0; at < made.a.blocks.size(); at += reference::block_bytes(in_reference(format))) {
      const std::byte* block = made.a.blocks.data() + at + place_of_d(format);
      const auto is_negative = [](const std::byte* half) {
        return (reference::detail::load<std::uint16_t>(half) & 0x8000) != 0;
      };
      signs.insert({is_negative(block), has_minima && is_negative(block + 2)});
    }
    EXPECT_EQ(signs.size(), has_minima ? 4U : 2U);
  }
}

TEST(ProductInputs, PatternsAreAllSixteenBits) {
  for (const Format format : {Format::f16, Format::bf16}) {
    const ProductInputs made = make_product_inputs("E-patterns", format, 65544, 32, 1);
    std::set<std::uint16_t> patterns;
    for (std::size_t i = 0; i < made.a.blocks.size(); i += 2)
      patterns.insert(reference::detail::load<std::uint16_t>(made.a.blocks.data() + i));
    EXPECT_EQ(patterns.size(), 65536U) << traits(format).name;
  }
  const ProductInputs wide = make_product_inputs("E-patterns", Format::f32, 64, 256, 1);
  int not_a_number = 0;  // infinity times 0
  for (std::size_t row = 0; row < 64; ++row) {
    double sum = 0;
    reference::for_each_weight(
        reference::Format::f32, wide.a.row(row),
        [&](std::size_t i, const reference::Weight& w) { sum += w.value() * wide.x[i]; });
    not_a_number += std::isnan(sum);
  }
  EXPECT_GE(not_a_number, 16);
}

TEST(ProductInputs, InfiniteXMakesEveryProductInfiniteOrNan) {
  for (const FormatTraits& traits : kFormats) {
    const Format format = traits.format;
    const ProductInputs made = make_product_inputs("N-x", format, 200, traits.block > 96 ? 256 : 96, 1);
    int plus = 0, minus = 0, nan = 0;
    for (std::size_t row = 0; row < 200; ++row) {
      double sum = 0;
      reference::for_each_weight(
          in_reference(format), made.a.row(row),
          [&](std::size_t i, const reference::Weight& w) { sum += w.value() * made.x[i]; });
      EXPECT_FALSE(std::isfinite(sum));
      plus += sum > 0;
      minus += sum < 0;
      nan += std::isnan(sum);
    }
    EXPECT_GT(plus, 10);
    EXPECT_GT(minus, 10);
    EXPECT_GT(nan, 10);
  }
}

TEST_F(Suites, EveryOpWithProductsOfSizesIsJudgedPastTwoToThe31) {
  // An index is a size: of argmax at most 2^24, of read as many words as an int counts bytes.
  const std::set<std::string> without{"argmax", "read"};
  for (const auto& suite : suites()) {
    int far = 0;
    double largest = 0;
    for (const Shape& shape : suite->shapes(Sweep::edge)) {
      const std::vector<std::string> inputs = suite->inputs_at(shape);
      if (std::find(inputs.begin(), inputs.end(), kFar) == inputs.end()) continue;
      ++far;
      double product = 1;
      for (const auto& [name, size] : shape) product *= std::max(1, size);
      largest = std::max(largest, product);
    }
    // Fused products find their rows as gemv does, and their places in the cache as kv_append.
    if (without.contains(suite->op()) || suite->judged_by_separate_ops()) continue;
    EXPECT_GT(far, 0) << suite->op();
    EXPECT_GT(largest, 0x1p30) << suite->op();
  }
}

TEST_F(Suites, AFarCaseTakesLittleMemory) {
  const auto resident_mib = [] {
    std::ifstream statm("/proc/self/statm");
    double total = 0, resident = 0;
    statm >> total >> resident;
    return resident * 4096 / 0x1p20;
  };
  const double before = resident_mib();
  const Case c = Case::parse("gemv_f32/shared rows=2097157,cols=2080 far seed=1");
  const std::unique_ptr<Trial> trial = suite(c.op).trial(*device, c);
  trial->reset(*stream);
  trial->launch(*stream);
  EXPECT_TRUE(trial->judge(*stream).passed);
  EXPECT_LT(resident_mib() - before, 64);
}

TEST_F(Suites, WhatADeviceCannotHoldIsUnavailable) {
  class NoSparseMemory final : public Device {
   public:
    explicit NoSparseMemory(Device& device) : device_(device) {}
    const DeviceInfo& info() const override { return device_.info(); }
    std::unique_ptr<Stream> create_stream() override { return device_.create_stream(); }
    std::unique_ptr<Event> create_event() override { return device_.create_event(); }
    std::unique_ptr<Graph> create_graph(std::span<const Launch> launches) override {
      return device_.create_graph(launches);
    }
    void* allocate_pinned(std::size_t) override { return nullptr; }
    void release_pinned(void*) noexcept override {}

   private:
    void* allocate_raw(std::size_t bytes, const std::string& owner) override {
      return device_.allocate(bytes, owner);
    }
    void* allocate_sparse_raw(std::size_t, const std::string&) override { throw Error("none of that here"); }
    void release_raw(void* pointer) noexcept override { device_.release(pointer); }
    Device& device_;
  } none(*device);
  const Case c = Case::parse("rms_norm/warp n_rows=2097155,width=2052 far seed=1");
  EXPECT_THROW(suite(c.op).trial(none, c), Unavailable);
  EXPECT_NO_THROW(suite(c.op).trial(*device, c));
}

TEST_F(Suites, ShapesBeyondALimitGetTheInputsThatSeeIt) {
  const Suite& gemv = suite("gemv_f16");
  const Shape far{{"rows", 2097157}, {"cols", 2080}};
  EXPECT_EQ(gemv.inputs_at(far), std::vector<std::string>{kFar});
  const std::vector<std::string> small = gemv.inputs_at({{"rows", 7}, {"cols", 992}});
  EXPECT_EQ(small.size(), gemv.inputs().size() - 1);
  EXPECT_EQ(std::find(small.begin(), small.end(), kFar), small.end());
}

/// 7 + 1 by 4 blocks of 256 elements, the first of which nobody reads.
std::vector<float> eights(const DeviceOptions& options, unsigned unread_blocks) {
  const std::unique_ptr<Device> device = open_simt_device(options);
  const Buffer<float> x(*device, 1024, "x");
  const Buffer<float> y(*device, 1024, "y");
  const std::unique_ptr<Stream> stream = device->create_stream();
  x.upload(*stream, std::vector<float>(1024, 7.0f));
  y.upload(*stream, std::vector<float>(1024, 1.0f));
  LaunchConfig config{{4}, 256};
  config.unread_blocks = unread_blocks;
  stream->launch(kResidualAdd.variants[0].kernel, config, ResidualAddParams{x.data(), y.data(), 1024});
  return x.download(*stream);
}

TEST_F(Suites, UnreadBlocksAreLeftOutInAnyOrder) {
  for (const SimtOrder order : {SimtOrder::ascending, SimtOrder::descending, SimtOrder::random}) {
    DeviceOptions options = simt();
    options.simt_order = order;
    options.simt_workers = 3;
    const std::vector<float> y = eights(options, 3);
    for (std::size_t i = 0; i < 1024; ++i) ASSERT_EQ(y[i], i < 768 ? 7.0f : 8.0f) << i;
  }
  EXPECT_THROW(eights(simt(), 4), DeviceFault);
}

TEST_F(Suites, SparseMemoryReadsAsZeroOnBothSidesOfItsStart) {
  constexpr std::size_t n = std::size_t{1} << 33;
  const auto buffer = Buffer<char>::sparse(*device, n, "test");
  buffer.upload(*stream, std::vector<char>{1, 2, 3}, n - 3);
  EXPECT_EQ(buffer.download(*stream, n - 4, 4), (std::vector<char>{0, 1, 2, 3}));
  char before = 9;
  stream->copy_to_host(&before, buffer.data() - n, 1);  // as an index that became negative
  stream->synchronize();
  EXPECT_EQ(before, 0);
  EXPECT_EQ(device->holdings().at("test"), 0U);
}

TEST(RandomNumbers, TheSameOnEverySystem) {
  Random random(1, 2);
  OutputHash hash;
  for (int i = 0; i < 1000; ++i) {
    const float values[] = {random.normal(), random.uniform(), random.over_binades(-149, 127),
                            static_cast<float>(random.between(-5, 5))};
    hash.add(std::as_bytes(std::span(values)));
  }
  EXPECT_EQ(hash.value(), 7836569158587615224u);
}

TEST(RandomNumbers, HaveTheirMoments) {
  Random random(5, 0);
  double mean = 0, variance = 0;
  constexpr int n = 200000;
  for (int i = 0; i < n; ++i) {
    const double x = random.normal();
    mean += x / n;
    variance += x * x / n;
  }
  EXPECT_NEAR(mean, 0, 0.01);
  EXPECT_NEAR(variance, 1, 0.01);
}

}  // namespace
}  // namespace m40llm::bench
