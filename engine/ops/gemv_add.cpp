#include "engine/ops/gemv_add.hpp"

#include "engine/ops/gemv.hpp"

#define M40LLM_KERNELS(format, ...)                          \
  extern "C" void gemv_add_##format##_shared(GemvAddParams); \
  extern "C" void gemv_add_##format##_global(GemvAddParams);
M40LLM_FORMATS(M40LLM_KERNELS)
#undef M40LLM_KERNELS

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
int exact(const GemvAddParams&, int) { return 0; }  // the bits of separate ops
Work work(const GemvAddParams& p) {
  Work work = product_work(p.a);
  return {work.bytes + 4.0 * p.a.rows, work.flops + p.a.rows};
}
ProductRounds rounds(const GemvAddParams& p) { return product_rounds(p.a, 1); }

}  // namespace

const Op<GemvAddParams>& gemv_add_op(Format format) {
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
  return kOps[static_cast<std::size_t>(format)];
}

}  // namespace m40llm
