#include "engine/ops/gemv.hpp"
#include "engine/ops/shapes.hpp"
#include "kernels/chip.hpp"

extern "C" {
void gemv_f32_warp(GemvParams);
void gemv_f16_warp(GemvParams);
void gemv_f16_rows2_shared(GemvParams);
void gemv_q8_0_warp(GemvParams);
void gemv_q4_1_word_shared(GemvParams);
void gemv_q4_1_block(GemvParams);
void gemv_q4_0_word_shared(GemvParams);
void gemv_q4_0_word(GemvParams);
void gemv_q4_k_word_shared(GemvParams);
void gemv_q4_k_word(GemvParams);
void gemv_q6_k_words_shared(GemvParams);
void gemv_q6_k_words(GemvParams);
}

namespace m40llm {
namespace {

constexpr int kBlock = 256;
constexpr int kWarps = kBlock / 32;

LaunchConfig warp_a_row(const GemvParams& p) { return {{udiv_up(p.a.rows, kWarps)}, kBlock}; }
LaunchConfig two_rows_a_warp(const GemvParams& p) {
  return {{udiv_up(p.a.rows, 2 * kWarps)}, kBlock, static_cast<unsigned>(p.a.stride) * 4};
}
bool x_fits_shared(const GemvParams& p) {
  return static_cast<std::size_t>(p.a.stride) * sizeof(float) <= kGm200.shared_bytes_per_block;
}

/// A lane takes every 32nd piece of `weights`, `in_chain` of them one after the other in each of its sums;
/// `join` roundings join those.
template <int weights, int in_chain, int join>
int chain(const GemvParams& p, int) {
  return div_up(p.a.stride, weights * 32) * in_chain + join + kWarpSumChain;
}

Work work(const GemvParams& p) {
  const double n = static_cast<double>(p.a.rows) * p.a.cols;
  return {n * bits_per_weight(p.a.format) / 8 + 4.0 * (p.a.cols + p.a.rows), 2 * n};
}

// The variants of each format.
constexpr Variant<GemvParams> k_f32[] = {
    {"warp", {"gemv_f32_warp", gemv_f32_warp}, warp_a_row, chain<4, 1, 2>},
};
constexpr Variant<GemvParams> k_f16[] = {
    {"rows2_shared",
     {"gemv_f16_rows2_shared", gemv_f16_rows2_shared},
     two_rows_a_warp,
     chain<8, 2, 2>,
     x_fits_shared},
    {"warp", {"gemv_f16_warp", gemv_f16_warp}, warp_a_row, chain<8, 2, 2>},
};
// Q8_0: four integers of a word in a row, two levels to join the words, one multiply-add a load.
constexpr Variant<GemvParams> k_q8_0[] = {
    {"warp", {"gemv_q8_0_warp", gemv_q8_0_warp}, warp_a_row, chain<16, 1, 6>},
};
// Q4_1: one rounding more for the weight itself.
constexpr Variant<GemvParams> k_q4_1[] = {
    {"word_shared",
     {"gemv_q4_1_word_shared", gemv_q4_1_word_shared},
     two_rows_a_warp,
     chain<8, 2, 3>,
     x_fits_shared},
    {"block", {"gemv_q4_1_block", gemv_q4_1_block}, warp_a_row, chain<32, 8, 3>},
};

// Q4_0: two products of a nibble in a row, two levels to join the four sums, one multiply-add a load.
constexpr Variant<GemvParams> k_q4_0[] = {
    {"word_shared",
     {"gemv_q4_0_word_shared", gemv_q4_0_word_shared},
     two_rows_a_warp,
     chain<8, 1, 4>,
     x_fits_shared},
    {"word", {"gemv_q4_0_word", gemv_q4_0_word}, warp_a_row, chain<8, 1, 4>},
};

// Q4_K: two roundings more for the weight itself, whose scale is a product.
constexpr Variant<GemvParams> k_q4_k[] = {
    {"word_shared",
     {"gemv_q4_k_word_shared", gemv_q4_k_word_shared},
     two_rows_a_warp,
     chain<8, 2, 4>,
     x_fits_shared},
    {"word", {"gemv_q4_k_word", gemv_q4_k_word}, warp_a_row, chain<8, 2, 4>},
};

// Q6_K: four products of a sub-block in a row, one multiply-add a load, two levels to join the four sums.
constexpr Variant<GemvParams> k_q6_k[] = {
    {"words_shared",
     {"gemv_q6_k_words_shared", gemv_q6_k_words_shared},
     two_rows_a_warp,
     chain<16, 1, 6>,
     x_fits_shared},
    {"words", {"gemv_q6_k_words", gemv_q6_k_words}, warp_a_row, chain<16, 1, 6>},
};

#define M40LLM_OP(format, ...) {"gemv_" #format, "gemv", k_##format, work},
constexpr Op<GemvParams> kOps[] = {M40LLM_FORMATS(M40LLM_OP)};
#undef M40LLM_OP

}  // namespace

const Op<GemvParams>& gemv_op(Format format) { return kOps[static_cast<std::size_t>(format)]; }

}  // namespace m40llm
