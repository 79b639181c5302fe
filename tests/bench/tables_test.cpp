// The tables of variants, row by row: what a slip in a row says nothing of when it runs.
#include <backtrace.h>
#include <gtest/gtest.h>

#include <cstdint>
#include <set>
#include <string>

#include "bench/suite.hpp"
#include "engine/model/pack.hpp"
#include "engine/ops/ops.hpp"

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

/// Calls check(op) for each op.
template <class Check>
void for_all_ops(const Check& check) {
  check(kEmbeddingF32);
  check(kEmbeddingF16);
  check(kEmbeddingQ8_0);
  check(kEmbeddingQ4_1);
  check(kRmsNorm);
  check(kGemvF32);
  check(kGemvF16);
  check(kGemvQ8_0);
  check(kGemvQ4_1);
  check(kRopeNormal);
  check(kRopeNeox);
  check(kCastF32F16);
  check(kKvAppend);
  check(kAttentionDecode);
  check(kResidualAdd);
  check(kSwiglu);
  check(kArgmax);
}

TEST(Tables, AllAreLookedAt) {
  std::set<std::string> here, suited;
  for_all_ops([&](const auto& op) { here.insert(op.name); });
  for (const auto& suite : bench::suites()) suited.insert(suite->op());
  EXPECT_EQ(here, suited);
}

/// A GPU runs the kernel of the name, the SIMT device the function: two kernels, if the row mixes them up.
TEST(Tables, ARowNamesTheFunctionThatItCalls) {
  std::set<std::string> names;
  for_all_ops([&](const auto& op) {
    for (const auto& variant : op.variants) {
      EXPECT_EQ(symbol_of(reinterpret_cast<void (*)()>(variant.kernel.function)), variant.kernel.name)
          << op.name << "/" << variant.name;
      names.insert(variant.kernel.name);
    }
  });
  EXPECT_GT(names.size(), 20U);
}

/// What is not bit-exact is compared with no recorded bits and in no other order: each such row stands here.
TEST(Tables, TheseRowsAreNotBitExact) {
  std::set<std::string> rows;
  for_all_ops([&](const auto& op) {
    for (const auto& variant : op.variants) {
      if (!variant.bit_exact) rows.insert(std::string(op.name) + "/" + variant.name);
    }
  });
  EXPECT_EQ(rows, std::set<std::string>());
}

/// The traffic that an op declares holds every byte of its weights as they lie in memory.
TEST(Tables, WorkCountsTheScalesOfWeights) {
  constexpr int kRows = 64, kCols = 1024;
  const auto expect = [](gguf::TensorType type, const Op<EmbeddingParams>& embedding,
                         const Op<GemvParams>& gemv) {
    const Matrix matrix{nullptr, nullptr, kRows, kCols, kCols};
    EmbeddingParams row{};
    row.table = matrix;
    EXPECT_EQ(embedding.work(row).bytes, static_cast<double>(packed_bytes(type, 1, kCols)) + 4.0 * kCols)
        << embedding.name;
    GemvParams product{};
    product.a = matrix;
    EXPECT_EQ(gemv.work(product).bytes,
              static_cast<double>(packed_bytes(type, kRows, kCols)) + 4.0 * (kRows + kCols))
        << gemv.name;
  };
  expect(gguf::TensorType::f32, kEmbeddingF32, kGemvF32);
  expect(gguf::TensorType::f16, kEmbeddingF16, kGemvF16);
  expect(gguf::TensorType::q8_0, kEmbeddingQ8_0, kGemvQ8_0);
  expect(gguf::TensorType::q4_1, kEmbeddingQ4_1, kGemvQ4_1);
}

}  // namespace
}  // namespace m40llm
