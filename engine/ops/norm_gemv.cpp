#include "engine/ops/norm_gemv.hpp"

#define M40LLM_KERNEL(format, ...) extern "C" void norm_gemv_##format(NormGemvParams);
M40LLM_FORMATS(M40LLM_KERNEL)
#undef M40LLM_KERNEL

#define M40LLM_KERNEL(format, ...) extern "C" void norm_gemv_int8_##format(NormGemvParams);
M40LLM_INTEGER_FORMATS(M40LLM_KERNEL)
#undef M40LLM_KERNEL

namespace m40llm {
namespace {

LaunchConfig config(const NormGemvParams& p, int n_sms) {
  const unsigned shared_bytes = padded_x_bytes(p.a);
  return overlapping(
      {{walking_blocks(p.a.rows, n_sms, traits(p.a.format).sm_blocks, shared_bytes + kNormSharedBytes)},
       kProductBlock,
       shared_bytes});
}
LaunchConfig with_integers(const NormGemvParams& p, int n_sms) {
  return overlapping({{int8_blocks(p.a.rows, n_sms)}, kInt8Block, int8_x_bytes(p.a)});
}
bool fits_int8(const NormGemvParams& p) { return p.a.stride <= widest_normed(Activations::int8); }
int exact(const NormGemvParams&, int) { return 0; }  // the bits of separate ops
Work work(const NormGemvParams& p) {
  const Work work = product_work(p.a);
  return {work.bytes + 4.0 * p.a.cols, work.flops + 4.0 * p.a.cols};
}
ProductRounds rounds(const NormGemvParams& p) { return product_rounds(p.a); }
bool applies(const NormGemvParams& p) { return p.a.stride <= widest_normed(Activations::float32); }

}  // namespace

const Op<NormGemvParams>& norm_gemv_op(Format format, Activations activations) {
  // In the order of the formats, one variant each.
#define M40LLM_VARIANT(format, ...)                      \
  {.name = "shared",                                     \
   .kernel = {"norm_gemv_" #format, norm_gemv_##format}, \
   .config = nullptr,                                    \
   .chain = exact,                                       \
   .applies = applies,                                   \
   .config_on = config},
  static constexpr Variant<NormGemvParams> kVariants[] = {M40LLM_FORMATS(M40LLM_VARIANT)};
#undef M40LLM_VARIANT
#define M40LLM_OP(format, ...)        \
  {"norm_gemv_" #format, "norm_gemv", \
   std::span(kVariants).subspan(static_cast<std::size_t>(Format::format), 1), work, rounds},
  static constexpr Op<NormGemvParams> kOps[] = {M40LLM_FORMATS(M40LLM_OP)};
#undef M40LLM_OP
#define M40LLM_VARIANT(format, ...)                                \
  {.name = kInt8Variant,                                           \
   .kernel = {"norm_gemv_int8_" #format, norm_gemv_int8_##format}, \
   .config = nullptr,                                              \
   .chain = exact,                                                 \
   .applies = fits_int8,                                           \
   .config_on = with_integers},
  static constexpr Variant<NormGemvParams> kInt8Variants[] = {M40LLM_INTEGER_FORMATS(M40LLM_VARIANT)};
#undef M40LLM_VARIANT
#define M40LLM_OP(format, ...)             \
  {"norm_gemv_int8_" #format, "norm_gemv", \
   std::span(kInt8Variants).subspan(integer_format(Format::format), 1), work, rounds},
  static constexpr Op<NormGemvParams> kInt8Ops[] = {M40LLM_INTEGER_FORMATS(M40LLM_OP)};
#undef M40LLM_OP
  if (activations == Activations::int8 && has_integers(format)) return kInt8Ops[integer_format(format)];
  return kOps[static_cast<std::size_t>(format)];
}

}  // namespace m40llm
