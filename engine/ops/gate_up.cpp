#include "engine/ops/gate_up.hpp"

#define M40LLM_KERNEL(format, ...) extern "C" void gate_up_##format(GateUpParams);
M40LLM_FORMATS(M40LLM_KERNEL)
#undef M40LLM_KERNEL

#define M40LLM_KERNEL(format, ...) extern "C" void gate_up_int8_##format(GateUpParams);
M40LLM_INTEGER_FORMATS(M40LLM_KERNEL)
#undef M40LLM_KERNEL

namespace m40llm {
namespace {

LaunchConfig config(const GateUpParams& p, int n_sms) {
  const unsigned shared_bytes = padded_x_bytes(p.gate);
  return overlapping({{walking_blocks(kProductRows * p.gate.rows, n_sms, traits(p.gate.format).sm_blocks,
                                      shared_bytes + kNormSharedBytes)},
                      kProductBlock,
                      shared_bytes});
}
LaunchConfig with_integers(const GateUpParams& p, int n_sms) {
  return overlapping({{int8_blocks(kProductRows * p.gate.rows, n_sms)}, kInt8Block, int8_x_bytes(p.gate)});
}
bool fits_int8(const GateUpParams& p) { return p.gate.stride <= widest_normed(Activations::int8); }
int exact(const GateUpParams&, int) { return 0; }  // the bits of separate ops
Work work(const GateUpParams& p) {
  const Work work = product_work(p.gate);
  return {2 * work.bytes - 4.0 * p.gate.rows, 2 * work.flops + 4.0 * p.gate.cols + 4.0 * p.gate.rows};
}
ProductRounds rounds(const GateUpParams& p) {
  Matrix both = p.gate;
  both.rows *= 2;
  return product_rounds(both);
}
bool applies(const GateUpParams& p) { return p.gate.stride <= widest_normed(Activations::float32); }

}  // namespace

const Op<GateUpParams>& gate_up_op(Format format, Activations activations) {
  // In the order of the formats, one variant each.
#define M40LLM_VARIANT(format, ...)                  \
  {.name = "shared",                                 \
   .kernel = {"gate_up_" #format, gate_up_##format}, \
   .config = nullptr,                                \
   .chain = exact,                                   \
   .applies = applies,                               \
   .config_on = config},
  static constexpr Variant<GateUpParams> kVariants[] = {M40LLM_FORMATS(M40LLM_VARIANT)};
#undef M40LLM_VARIANT
#define M40LLM_OP(format, ...)                                                                               \
  {"gate_up_" #format, "gate_up", std::span(kVariants).subspan(static_cast<std::size_t>(Format::format), 1), \
   work, rounds},
  static constexpr Op<GateUpParams> kOps[] = {M40LLM_FORMATS(M40LLM_OP)};
#undef M40LLM_OP
#define M40LLM_VARIANT(format, ...)                            \
  {.name = kInt8Variant,                                       \
   .kernel = {"gate_up_int8_" #format, gate_up_int8_##format}, \
   .config = nullptr,                                          \
   .chain = exact,                                             \
   .applies = fits_int8,                                       \
   .config_on = with_integers},
  static constexpr Variant<GateUpParams> kInt8Variants[] = {M40LLM_INTEGER_FORMATS(M40LLM_VARIANT)};
#undef M40LLM_VARIANT
#define M40LLM_OP(format, ...)                                                                              \
  {"gate_up_int8_" #format, "gate_up", std::span(kInt8Variants).subspan(integer_format(Format::format), 1), \
   work, rounds},
  static constexpr Op<GateUpParams> kInt8Ops[] = {M40LLM_INTEGER_FORMATS(M40LLM_OP)};
#undef M40LLM_OP
  if (activations == Activations::int8 && has_integers(format)) return kInt8Ops[integer_format(format)];
  return kOps[static_cast<std::size_t>(format)];
}

}  // namespace m40llm
