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
#include "engine/ops/embedding.hpp"
#include "engine/ops/gemv.hpp"
#include "kernels/gemv_add.h"

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
    EXPECT_EQ(gemv_op(format.format, Activations::float32).work(product).bytes, bytes(kRows) + 4.0 * (kRows + kCols))
        << format.name;
  }
}

/// The grid of a product that walks its units is one wave: an M40's SM holds as many blocks as the tables say.
TEST(Tables, WalkingProductsAreOneWaveOnAnM40) {
  std::size_t n_kernels = 0;
  const auto fits = [&](const std::string& name, int sm_blocks) {
    for (const Image& image : images()) {
      if (image.arch != kGm200.arch) continue;
      for (const KernelResources& kernel : image.kernels) {
        if (kernel.name != name) continue;
        ++n_kernels;
        EXPECT_GE(
            occupancy(kGm200, kernel, {{static_cast<unsigned>(sm_blocks * kGm200.n_sms)}, kProductBlock})
                .blocks_per_sm,
            sm_blocks)
            << name;
      }
    }
  };
  for (const FormatTraits& format : kFormats) {
    for (const char* const op : {"qkv_", "gate_up_", "norm_gemv_"})
      fits(std::string(op) + format.name, format.sm_blocks);
    for (const char* const way : {"_shared", "_global"})
      fits(std::string("gemv_add_") + format.name + way, kGemvAddBlocks);
  }
  EXPECT_EQ(n_kernels, 5 * std::size(kFormats));
}

}  // namespace
}  // namespace m40llm
