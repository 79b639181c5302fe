// The tables of variants, row by row: what a slip in a row says nothing of when it runs.
#include <backtrace.h>
#include <gtest/gtest.h>

#include <cstdint>
#include <set>
#include <string>

#include "bench/suite.hpp"
#include "engine/device/image.hpp"
#include "engine/device/occupancy.hpp"
#include "engine/model/pack.hpp"
#include "engine/ops/attention_decode.hpp"
#include "engine/ops/embedding.hpp"
#include "engine/ops/gate_up.hpp"
#include "engine/ops/gemv.hpp"
#include "engine/ops/gemv_add.hpp"
#include "engine/ops/norm_gemv.hpp"
#include "engine/ops/qkv.hpp"

namespace m40llm {
namespace {

/// The name of the function at an address, from the program's symbols; empty if there is none.
std::string symbol_of(void (*function)()) {
  static backtrace_state* const state = backtrace_create_state(nullptr, 1, nullptr, nullptr);
  std::string name;
  backtrace_syminfo(
      state, reinterpret_cast<std::uintptr_t>(function),
      [](void* found, std::uintptr_t, const char* symbol, std::uintptr_t, std::uintptr_t) {
        if (symbol != nullptr) *static_cast<std::string*>(found) = symbol;
      },
      [](void*, const char*, int) {}, &name);
  return name;
}

/// A GPU runs the kernel of the name, the SIMT device the function: two kernels, if the row mixes them up.
TEST(Tables, ARowNamesTheFunctionThatItCalls) {
  std::set<std::string> names;
  for (const auto& suite : bench::suites()) {
    for (const bench::VariantInfo& variant : suite->variants()) {
      std::set<std::string> launched;
      for (const bench::Sweep sweep : {bench::Sweep::smoke, bench::Sweep::model, bench::Sweep::edge}) {
        for (const bench::Shape& shape : suite->shapes(sweep)) {
          if (!suite->applies(variant.name, shape)) continue;
          for (const Launch& launch : suite->launches(variant.name, shape, kGm200.n_sms)) {
            launched.insert(launch.kernel.name);
            if (launch.library_call) continue;
            EXPECT_EQ(symbol_of(launch.kernel.function), launch.kernel.name)
                << suite->op() << "/" << variant.name;
          }
        }
      }
      EXPECT_TRUE(launched.contains(variant.kernel)) << suite->op() << "/" << variant.name;
      names.insert(launched.begin(), launched.end());
    }
  }
  EXPECT_GT(names.size(), 20U);
}

/// What is not bit-exact is compared with no recorded bits and in no other order: each such row stands here.
TEST(Tables, TheseRowsAreNotBitExact) {
  std::set<std::string> rows;
  for (const auto& suite : bench::suites()) {
    for (const bench::VariantInfo& variant : suite->variants()) {
      if (!variant.bit_exact) rows.insert(suite->op() + "/" + variant.name);
    }
  }
  EXPECT_EQ(rows, std::set<std::string>());
}

/// The traffic that an op declares holds every byte of its weights as they lie in memory.
TEST(Tables, WorkCountsTheScalesOfWeights) {
  constexpr int kRows = 64, kCols = 1024;
  for (const FormatTraits& format : kFormats) {
    const Matrix matrix{nullptr, nullptr, kRows, kCols, kCols, format.format};
    const auto bytes = [&](std::uint64_t rows) {
      return static_cast<double>(packed_bytes(gguf::tensor_type(format.format), rows, kCols));
    };
    EmbeddingParams row{};
    row.table = matrix;
    EXPECT_EQ(embedding_op(format.format).work(row).bytes, bytes(1) + 4.0 * kCols) << format.name;
    GemvParams product{};
    product.a = matrix;
    EXPECT_EQ(gemv_op(format.format, Activations::float32).work(product).bytes,
              bytes(kRows) + 4.0 * (kRows + kCols))
        << format.name;
  }
}

/// Why a launch would not be on an M40 all at once, or would be slow there whatever it does: empty if all is well.
std::string unfit(const KernelResources& kernel, const LaunchConfig& launch) {
  const std::string who = std::string(kernel.name) + ": ";
  if (kernel.local_bytes + kernel.spill_bytes != 0) {
    return who + std::to_string(kernel.local_bytes) + " bytes of local memory, " +
           std::to_string(kernel.spill_bytes) + " of spills";
  }
  const Occupancy o = occupancy(kGm200, kernel, launch);
  if (o.waves == 1) return "";
  return who + std::to_string(launch.grid.x * launch.grid.y) + " blocks, of which " +
         std::to_string(o.blocks_per_sm) + " fit an SM, are " + std::to_string(o.waves) +
         " waves, expected 1";
}

/// Every launch of a step's products and of attention, of every format, on the rows of the widths that models have.
template <class See>
void for_each_resident_launch(const See& see) {
  const auto look = [&](const auto& op, const auto& params) {
    if (const auto* const variant = op.find_default_variant(params)) {
      for (const Launch& launch : variant->launches(params, kGm200.n_sms, {})) see(launch);
    }
  };
  constexpr int kRows = 16384;
  for (int cols = 256; cols <= 16384; cols += 32) {
    for (const FormatTraits& format : kFormats) {
      const Matrix a{nullptr, nullptr, kRows, cols, cols, format.format};
      QkvParams qkv{};
      qkv.q = qkv.k = qkv.v = a;
      qkv.width = qkv.stride = cols;
      for (const Activations x : {Activations::float32, Activations::int8}) {
        look(gemv_add_op(format.format, x), GemvAddParams{a, nullptr, nullptr});
        look(norm_gemv_op(format.format, x), NormGemvParams{a, nullptr, nullptr, nullptr, 0});
        look(gate_up_op(format.format, x), GateUpParams{a, a, nullptr, nullptr, nullptr, 0});
        look(qkv_op(format.format, x), qkv);
      }
    }
  }
  const bench::Suite& attention = bench::suite(kAttentionDecode.name);
  for (const bench::Sweep sweep : {bench::Sweep::model, bench::Sweep::bench}) {
    for (const bench::Shape& shape : attention.shapes(sweep)) {
      const std::string variant = attention.variants().front().name;
      if (!attention.applies(variant, shape)) continue;
      for (const Launch& launch : attention.launches(variant, shape, kGm200.n_sms)) see(launch);
    }
  }
}

/// Their grids are made for blocks that are all there at once: an SM of an M40 must hold as many as the tables take for
/// granted.
TEST(Tables, LaunchesMadeForAnM40AreOneWaveThere) {
  std::set<std::string> kernels;
  std::set<std::string> faults;
  for_each_resident_launch([&](const Launch& launch) {
    kernels.insert(launch.kernel.name);
    if (const std::string fault = unfit(sm52_resources(launch.kernel.name), launch.config); !fault.empty())
      faults.insert(fault);
  });
  EXPECT_GE(kernels.size(), 5 * std::size(kFormats) + 1);
  for (const std::string& fault : faults) ADD_FAILURE() << fault;
}

/// What the test above would say of a kernel with a fault: its own launch, and one register, shared byte or spill too many.
TEST(Tables, ALaunchThatIsNotOneWaveIsSeen) {
  std::size_t n_full = 0;
  for_each_resident_launch([&](const Launch& launch) {
    const KernelResources fits = sm52_resources(launch.kernel.name);
    KernelResources kernel = fits;
    kernel.spill_bytes = 4;
    EXPECT_NE(unfit(kernel, launch.config).find("4 of spills"), std::string::npos);
    kernel = fits;
    kernel.local_bytes = 8;
    EXPECT_NE(unfit(kernel, launch.config).find("8 bytes of local memory"), std::string::npos);
    const int an_sm = static_cast<int>(launch.config.grid.x * launch.config.grid.y) / kGm200.n_sms;
    if (an_sm < 2) return;
    ++n_full;
    kernel = fits;  // so that not an_sm blocks have room
    kernel.registers = kGm200.registers_per_sm / static_cast<int>(launch.config.block) / an_sm + 1;
    EXPECT_NE(unfit(kernel, launch.config).find(" waves, expected 1"), std::string::npos)
        << launch.kernel.name;
    kernel = fits;
    kernel.static_shared_bytes =
        kGm200.shared_bytes_per_sm / an_sm - static_cast<int>(launch.config.shared_bytes) + 1;
    EXPECT_NE(unfit(kernel, launch.config).find(" waves, expected 1"), std::string::npos)
        << launch.kernel.name;
  });
  EXPECT_GT(n_full, 100U);
}

/// Each default kernel of any op: the build refuses them too.
TEST(Tables, NoKernelKeepsLocalMemoryOnAnM40) {
  std::size_t n_kernels = 0;
  for (const Image& image : images()) {
    if (image.arch != kGm200.arch) continue;
    for (const KernelResources& kernel : image.kernels) {
      ++n_kernels;
      EXPECT_EQ(kernel.local_bytes + kernel.spill_bytes, 0) << kernel.name;
    }
  }
  EXPECT_GT(n_kernels, 60U);
}

/// A product's main loop is the one over pieces, in the loop over units; a weight takes at least its multiplication.
TEST(Tables, ProductsHaveTheTwoLoopsThatAreCounted) {
  std::size_t n_kernels = 0;
  for (const auto& suite : bench::suites()) {
    const bench::Shape shape = suite->shapes(bench::Sweep::model).front();
    const ProductRounds rounds = suite->rounds(shape);
    if (rounds.weights == 0) continue;
    for (const bench::VariantInfo& variant : suite->variants()) {
      const KernelResources& kernel = sm52_resources(variant.kernel);
      ++n_kernels;
      EXPECT_GE(kernel.loop_instructions, rounds.lane_weights) << kernel.name;
      EXPECT_LE(kernel.loop_instructions, 16 * rounds.lane_weights) << kernel.name;
      EXPECT_GT(kernel.outer_instructions, kernel.loop_instructions) << kernel.name;
    }
  }
  EXPECT_EQ(n_kernels, 7 * std::size(kFormats) + 5 * (std::size(kFormats) - kFloatFormats));
}

}  // namespace
}  // namespace m40llm
