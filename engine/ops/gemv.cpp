#include "engine/ops/gemv.hpp"

#include <algorithm>

#define M40LLM_KERNELS(format, ...)                   \
  extern "C" void gemv_##format##_shared(GemvParams); \
  extern "C" void gemv_##format##_global(GemvParams);
M40LLM_FORMATS(M40LLM_KERNELS)
#undef M40LLM_KERNELS

#define M40LLM_KERNEL(format, ...) extern "C" void gemv_int8_##format(GemvParams);
M40LLM_INTEGER_FORMATS(M40LLM_KERNEL)
#undef M40LLM_KERNEL

namespace m40llm {
namespace {

LaunchConfig a_warp_a_unit(const GemvParams& p) { return {{product_blocks(p.a.rows)}, kProductBlock}; }
LaunchConfig with_x(const GemvParams& p) {
  return {{product_blocks(p.a.rows)}, kProductBlock, padded_x_bytes(p.a)};
}
/// Of Dot<F> (kernels/formats_int8.cuh): roundings that a piece adds to the longest chain of a lane's sum, and those that
/// the first piece has in front of its own. Integers and their products have none, nor has d of x: it is what x is
/// judged with.
struct Int8Chain {
  int piece, first;
};
Int8Chain int8_chain(Format format) {
  switch (format) {
    case Format::q8_0:
    case Format::q4_0:
      return {1, 1};  // w's d times x's
    case Format::q4_1:
      return {2, 1};
    case Format::q4_k:
    case Format::q5_k:
      return {2, 2};  // the values of two sub-blocks, and their sum
    case Format::q6_k:
      return {1, 4};  // those of four quarters
    case Format::f32:
    case Format::f16:
    case Format::bf16:
      break;
  }
  throw Error(std::string("format '") + traits(format).name + "' has no integers");
}
LaunchConfig with_integers(const GemvParams& p) {
  return {{udiv_up(p.a.rows, kProductRows * kInt8Block / kWarpSize)}, kInt8Block, int8_x_bytes(p.a)};
}
int chain_int8(const GemvParams& p, int) {
  const auto [piece, first] = int8_chain(p.a.format);
  return first + div_up(p.a.stride, traits(p.a.format).piece * 32) * piece + kWarpSumChain;
}
bool fits_int8(const GemvParams& p) { return int8_x_fits_shared(p.a); }
int chain(const GemvParams& p, int) { return product_chain(p.a); }
Work work(const GemvParams& p) { return product_work(p.a); }
ProductRounds rounds(const GemvParams& p) { return product_rounds(p.a); }

}  // namespace

unsigned walking_blocks(int rows, int n_sms, int sm_blocks, unsigned shared_bytes) {
  const auto needed = static_cast<int>(product_blocks(rows));
  if (needed <= n_sms) return static_cast<unsigned>(needed);
  constexpr int kGranule = kGm200.shared_granularity_bytes;
  const int block_bytes = std::max(div_up(static_cast<int>(shared_bytes), kGranule), 1) * kGranule;
  const int at_once = std::min(sm_blocks, kGm200.shared_bytes_per_sm / block_bytes);
  return static_cast<unsigned>(std::min(div_up(needed, n_sms), at_once) * n_sms);
}

unsigned int8_blocks(int rows, int n_sms) {
  return static_cast<unsigned>(std::min(div_up(rows, kProductRows), n_sms));
}

const Op<GemvParams>& gemv_op(Format format, Activations activations) {
#define M40LLM_VARIANTS(format, ...)                         \
  {{"shared",                                                \
    {"gemv_" #format "_shared", gemv_##format##_shared},     \
    with_x,                                                  \
    chain,                                                   \
    [](const GemvParams& p) { return x_fits_shared(p.a); }}, \
   {"global", {"gemv_" #format "_global", gemv_##format##_global}, a_warp_a_unit, chain}},
  static constexpr Variant<GemvParams> kVariants[][2] = {M40LLM_FORMATS(M40LLM_VARIANTS)};
#undef M40LLM_VARIANTS
#define M40LLM_OP(format, ...) \
  {"gemv_" #format, "gemv", kVariants[static_cast<std::size_t>(Format::format)], work, rounds},
  static constexpr Op<GemvParams> kOps[] = {M40LLM_FORMATS(M40LLM_OP)};
#undef M40LLM_OP
#define M40LLM_VARIANT(format, ...)                      \
  {.name = kInt8Variant,                                 \
   .kernel = {"gemv_int8_" #format, gemv_int8_##format}, \
   .config = with_integers,                              \
   .chain = chain_int8,                                  \
   .applies = fits_int8},
  static constexpr Variant<GemvParams> kInt8Variants[] = {M40LLM_INTEGER_FORMATS(M40LLM_VARIANT)};
#undef M40LLM_VARIANT
#define M40LLM_OP(format, ...)                                                                              \
  {"gemv_int8_" #format, "gemv", std::span(kInt8Variants).subspan(integer_format(Format::format), 1), work, \
   rounds},
  static constexpr Op<GemvParams> kInt8Ops[] = {M40LLM_INTEGER_FORMATS(M40LLM_OP)};
#undef M40LLM_OP
  if (activations == Activations::int8 && has_integers(format)) return kInt8Ops[integer_format(format)];
  return kOps[static_cast<std::size_t>(format)];
}

}  // namespace m40llm
