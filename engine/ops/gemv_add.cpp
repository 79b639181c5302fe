#include "engine/ops/gemv_add.hpp"

#define M40LLM_KERNELS(format, ...)                          \
  extern "C" void gemv_add_##format##_shared(GemvAddParams); \
  extern "C" void gemv_add_##format##_global(GemvAddParams);
M40LLM_FORMATS(M40LLM_KERNELS)
#undef M40LLM_KERNELS

#define M40LLM_KERNEL(format, ...) extern "C" void gemv_add_int8_##format(GemvAddParams);
M40LLM_INTEGER_FORMATS(M40LLM_KERNEL)
#undef M40LLM_KERNEL

namespace m40llm {
namespace {

LaunchConfig without_x(const GemvAddParams& p, int n_sms) {
  return overlapping({{walking_blocks(kProductRows * p.a.rows, n_sms, kGemvAddBlocks, 0)}, kProductBlock});
}
LaunchConfig with_x(const GemvAddParams& p, int n_sms) {
  const unsigned shared_bytes = padded_x_bytes(p.a);
  return overlapping({{walking_blocks(kProductRows * p.a.rows, n_sms, kGemvAddBlocks, shared_bytes)},
                      kProductBlock,
                      shared_bytes});
}
LaunchConfig with_integers(const GemvAddParams& p, int n_sms) {
  return overlapping({{int8_blocks(kProductRows * p.a.rows, n_sms)}, kInt8Block, int8_x_bytes(p.a)});
}
bool fits_int8(const GemvAddParams& p) { return int8_x_fits_shared(p.a); }
int exact(const GemvAddParams&, int) { return 0; }  // the bits of separate ops
Work work(const GemvAddParams& p) {
  Work work = product_work(p.a);
  return {work.bytes + 4.0 * p.a.rows, work.flops + p.a.rows};
}
ProductRounds rounds(const GemvAddParams& p) { return product_rounds(p.a, 1); }

}  // namespace

const Op<GemvAddParams>& gemv_add_op(Format format, Activations activations) {
#define M40LLM_VARIANTS(format, ...)                                       \
  {{.name = "shared",                                                      \
    .kernel = {"gemv_add_" #format "_shared", gemv_add_##format##_shared}, \
    .config = nullptr,                                                     \
    .chain = exact,                                                        \
    .applies = [](const GemvAddParams& p) { return x_fits_shared(p.a); },  \
    .config_on = with_x},                                                  \
   {.name = "global",                                                      \
    .kernel = {"gemv_add_" #format "_global", gemv_add_##format##_global}, \
    .config = nullptr,                                                     \
    .chain = exact,                                                        \
    .config_on = without_x}},
  static constexpr Variant<GemvAddParams> kVariants[][2] = {M40LLM_FORMATS(M40LLM_VARIANTS)};
#undef M40LLM_VARIANTS
#define M40LLM_OP(format, ...) \
  {"gemv_add_" #format, "gemv_add", kVariants[static_cast<std::size_t>(Format::format)], work, rounds},
  static constexpr Op<GemvAddParams> kOps[] = {M40LLM_FORMATS(M40LLM_OP)};
#undef M40LLM_OP
#define M40LLM_VARIANT(format, ...)                              \
  {.name = kInt8Variant,                                         \
   .kernel = {"gemv_add_int8_" #format, gemv_add_int8_##format}, \
   .config = nullptr,                                            \
   .chain = exact,                                               \
   .applies = fits_int8,                                         \
   .config_on = with_integers},
  static constexpr Variant<GemvAddParams> kInt8Variants[] = {M40LLM_INTEGER_FORMATS(M40LLM_VARIANT)};
#undef M40LLM_VARIANT
#define M40LLM_OP(format, ...)           \
  {"gemv_add_int8_" #format, "gemv_add", \
   std::span(kInt8Variants).subspan(integer_format(Format::format), 1), work, rounds},
  static constexpr Op<GemvAddParams> kInt8Ops[] = {M40LLM_INTEGER_FORMATS(M40LLM_OP)};
#undef M40LLM_OP
  if (activations == Activations::int8 && has_integers(format)) return kInt8Ops[integer_format(format)];
  return kOps[static_cast<std::size_t>(format)];
}

}  // namespace m40llm
