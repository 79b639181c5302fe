#include "bench/case_memory.hpp"

#include <gtest/gtest.h>
#include <malloc.h>

#include <atomic>
#include <cstdlib>
#include <new>

#include "bench/suite.hpp"
#include "engine/device/simt/simt_device.hpp"
#include "engine/error.hpp"

/// What cases declare to take of memory, held against what they take: everything made by `new` is counted.
namespace {

std::atomic<std::size_t> in_use{0};
std::atomic<std::size_t> peak{0};

void* counted(void* pointer) {
  if (pointer == nullptr) throw std::bad_alloc();
  const std::size_t now = in_use += malloc_usable_size(pointer);
  std::size_t before = peak;
  while (before < now && !peak.compare_exchange_weak(before, now)) {
  }
  return pointer;
}
void uncounted(void* pointer) {
  in_use -= malloc_usable_size(pointer);
  std::free(pointer);
}

}  // namespace

void* operator new(std::size_t bytes) { return counted(std::malloc(bytes)); }
void operator delete(void* pointer) noexcept { uncounted(pointer); }
void operator delete(void* pointer, std::size_t) noexcept { uncounted(pointer); }

namespace m40llm::bench {
namespace {

std::unique_ptr<Device> simt(std::size_t memory_bytes = 0) {
  DeviceOptions options;
  options.memory_bytes = memory_bytes;
  return open_simt_device(options);
}

/// A case of each suite and each of its shapes that takes up to 20 MB.
std::vector<Case> cases() {
  std::vector<Case> cases;
  for (const auto& suite : suites()) {
    for (const Sweep sweep : {Sweep::smoke, Sweep::model, Sweep::edge, Sweep::bench}) {
      for (const Shape& shape : suite->shapes(sweep)) {
        for (const VariantInfo& variant : suite->variants()) {
          if (!suite->applies(variant.name, shape)) continue;
          const bool large = suite->memory(variant.name, shape, kGm200.n_sms).on_host.total() > 20'000'000;
          if (!large) cases.push_back({suite->op(), variant.name, shape, suite->inputs().front()});
          if (large || suite->op() != "argmax") break;  // but for scratch, variants hold the same
        }
      }
    }
  }
  return cases;
}

TEST(CaseMemory, IsWhatTheCaseThenHolds) {
  const std::unique_ptr<Device> device = simt();
  const std::unique_ptr<Stream> stream = device->create_stream();
  for (const Case& c : cases()) {
    const CaseMemory declared = suite(c.op).memory(c.variant, c.shape, kGm200.n_sms);
    const std::size_t before = in_use;
    peak = before;
    const std::unique_ptr<Trial> trial = suite(c.op).trial(*device, c);
    std::size_t held = 0;
    for (const auto& [owner, bytes] : device->holdings()) held += bytes;
    EXPECT_EQ(declared.on_device.total(), held) << c.line();
    trial->reset(*stream);
    trial->judge(*stream);
    const auto taken = static_cast<double>(peak - before);
    // Small cases are for the tensors' names and the queues' pieces.
    EXPECT_LE(taken, static_cast<double>(declared.on_host.total()) + 200e3) << c.line();
    EXPECT_GE(taken, 0.3 * static_cast<double>(declared.on_host.total()) - 200e3) << c.line();
  }
}

TEST(CaseMemory, IsAskedForBeforeAnythingIsMade) {
  const std::unique_ptr<Device> device = simt(100'000'000);
  (void)suites();  // whose list is made by the first who asks
  for (const char* line :
       {"gemv_f32/global rows=65536,cols=65536 R seed=1", "gemv_q4_1/global rows=65536,cols=65536 R seed=1",
        "embedding_f16/element n_vocab=16777216,width=16777216 random seed=1",
        "rms_norm/block n_rows=65536,width=65536 random seed=1",
        "rope_neox/pair n_heads=1,head_dim=128,n_rotated=128,position=16777216 random seed=1",
        "swiglu/element n=16777216 random seed=1", "residual_add/element n=16777216 random seed=1",
        "argmax/block n=16777216 random seed=1",
        "kv_append/element n_kv_heads=64,head_dim=128,position=3,n_positions=262144,head_major=0 random "
        "seed=1",
        "attention_decode/tile n_heads=8,n_kv_heads=8,head_dim=128,context=16777216,head_major=0 c seed=1"}) {
    const Case c = Case::parse(line);
    const std::size_t before = in_use;
    peak = before;
    EXPECT_THROW(suite(c.op).trial(*device, c), OutOfMemory) << line;
    EXPECT_LT(peak - before, 100'000u) << line;
  }
}

TEST(CaseMemory, IsRefusedWithFiguresByTensor) {
  const std::unique_ptr<Device> device = simt(100'000'000);
  const Case c = Case::parse("gemv_f32/global rows=65536,cols=65536 R seed=1");
  try {
    suite(c.op).trial(*device, c);
    FAIL() << "not refused";
  } catch (const OutOfMemory& refusal) {
    EXPECT_EQ(
        std::string(refusal.what()),
        "not enough memory for the case: 51.5 GB: a on the host 34.4 GB, a 17.2 GB, y on the host 3.4 MB, y "
        "262.4 kB, x 262.1 kB, x on the host 262.1 kB are needed; " +
            device->info().name + " has 100.0 MB free");
  }
}

std::string refusal_of(const char* line) {
  try {
    const Case c = Case::parse(line);
    suite(c.op).check(c);
  } catch (const UsageError& refusal) {
    return refusal.what();
  }
  return "(taken)";
}

TEST(CaseProducts, BeyondAnIntAreRefusedByName) {
  EXPECT_EQ(
      refusal_of("attention_decode/tile n_heads=16777216,n_kv_heads=16777216,head_dim=128,context=1,"
                 "head_major=0 c seed=1"),
      "op 'attention_decode': n_heads x head_dim is 2147483648 in 'n_heads=16777216,n_kv_heads=16777216,"
      "head_dim=128,context=1,head_major=0'; at most 2147483647 is possible");
  for (const auto& [line, product] : std::initializer_list<std::pair<const char*, const char*>>{
           {"attention_decode/warps n_heads=1,n_kv_heads=1,head_dim=128,context=16777213,head_major=1 c "
            "seed=1",
            "head_major x positions x head_dim is 2147483648"},
           {"kv_append/element n_kv_heads=65536,head_dim=32768,position=0,n_positions=1,head_major=0 random "
            "seed=1",
            "n_kv_heads x head_dim is 2147483648"},
           {"kv_append/element n_kv_heads=1,head_dim=128,position=0,n_positions=16777216,head_major=1 random "
            "seed=1",
            "head_major x n_positions x head_dim is 2147483648"},
           {"rope_normal/pair n_heads=16777216,head_dim=128,n_rotated=2,position=0 random seed=1",
            "n_heads x head_dim is 2147483648"}}) {
    EXPECT_NE(refusal_of(line).find(product), std::string::npos) << line << ": " << refusal_of(line);
  }
}

TEST(CaseProducts, ThatFitAreTaken) {
  for (
      const char* line :
      {"attention_decode/tile n_heads=16777208,n_kv_heads=8,head_dim=128,context=1,head_major=0 c seed=1",
       "attention_decode/warps n_heads=1,n_kv_heads=1,head_dim=128,context=16777212,head_major=1 c seed=1",
       "kv_append/element n_kv_heads=1,head_dim=128,position=0,n_positions=16777216,head_major=0 random "
       "seed=1",
       "gemv_f32/global rows=16777216,cols=16777216 R seed=1",  // rows times columns are 64 bits in the kernel
       "rope_neox/pair n_heads=16777215,head_dim=128,n_rotated=128,position=0 random seed=1"}) {
    EXPECT_EQ(refusal_of(line), "(taken)") << line;
  }
}

/// Whatever sizes are taken, each as small or as large as it can be, the parameters' own sizes and the launch
/// made of them are what they would be in 64 bits.
TEST(CaseProducts, NoShapeOfTheExtremesOverflows) {
  std::size_t taken = 0, refused = 0;
  for (const auto& suite : suites()) {
    const Shape smallest = suite->shapes(Sweep::smoke).front();
    for (unsigned set = 0; set < 1u << smallest.size(); ++set) {
      Shape shape = smallest;
      for (std::size_t i = 0; i < shape.size(); ++i) {
        if ((set >> i & 1) != 0) shape[i].second = shape[i].first == "head_major" ? 1 : 1 << 24;
      }
      const std::string variant = suite->variants().back().name;
      const Case c{suite->op(), variant, shape, suite->inputs().front()};
      try {
        suite->check(c);
      } catch (const UsageError&) {
        ++refused;
        continue;
      }
      ++taken;
      for (const Launch& launch : suite->launches(variant, shape, kGm200.n_sms)) {
        const LaunchConfig& config = launch.config;
        EXPECT_LE(std::uint64_t{config.grid.x} * config.block, std::uint64_t{1} << 33) << c.line();
        EXPECT_LE(config.grid.x, 0x7fffffffu) << c.line();
        EXPECT_GT(config.grid.x, 0u) << c.line();
      }
      EXPECT_LT(suite->memory(variant, shape, kGm200.n_sms).on_host.total(), std::uint64_t{1} << 62)
          << c.line();
    }
  }
  EXPECT_GT(taken, 30u);
  EXPECT_GT(refused, 20u);
}

}  // namespace
}  // namespace m40llm::bench
