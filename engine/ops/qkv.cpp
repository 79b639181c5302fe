#include "engine/ops/qkv.hpp"

#define M40LLM_KERNEL(format, ...) extern "C" void qkv_##format(QkvParams);
M40LLM_FORMATS(M40LLM_KERNEL)
#undef M40LLM_KERNEL

#define M40LLM_KERNEL(format, ...) extern "C" void qkv_int8_##format(QkvParams);
M40LLM_INTEGER_FORMATS(M40LLM_KERNEL)
#undef M40LLM_KERNEL

namespace m40llm {
namespace {

/// One that has rows; all three have the same columns and format.
Matrix matrix_of(const QkvParams& p) {
  const Matrix& some = p.q.rows > 0 ? p.q : p.k.rows > 0 ? p.k : p.v;
  return {nullptr, nullptr, some.rows, p.width, p.stride, some.format};
}

LaunchConfig config(const QkvParams& p, int n_sms) {
  const Matrix some = matrix_of(p);
  const unsigned shared_bytes = padded_x_bytes(some);
  return overlapping({{walking_blocks(p.q.rows + p.k.rows + p.v.rows, n_sms, traits(some.format).sm_blocks,
                                      shared_bytes + kNormSharedBytes)},
                      kProductBlock,
                      shared_bytes});
}
LaunchConfig with_integers(const QkvParams& p, int n_sms) {
  return overlapping(
      {{int8_blocks(p.q.rows + p.k.rows + p.v.rows, n_sms)}, kInt8Block, int8_x_bytes(matrix_of(p))});
}
bool fits_int8(const QkvParams& p) { return p.stride <= widest_normed(Activations::int8); }
int exact(const QkvParams&, int) { return 0; }  // the bits of separate ops
Work work(const QkvParams& p) {
  const double rows = p.q.rows + p.k.rows + p.v.rows;
  const double n = rows * p.width;
  const double stored = 4.0 * p.q.rows + 2.0 * (p.k.rows + p.v.rows);
  return {n * bits_per_weight(matrix_of(p).format) / 8 + 8.0 * p.width + stored + 4.0 * p.n_rotated,
          2 * n + 4.0 * p.width + 3.0 * (p.q.rows + p.k.rows)};
}
ProductRounds rounds(const QkvParams& p) {
  Matrix all = matrix_of(p);
  all.rows = p.q.rows + p.k.rows + p.v.rows;
  return product_rounds(all);
}
bool applies(const QkvParams& p) { return p.stride <= widest_normed(Activations::float32); }

}  // namespace

const Op<QkvParams>& qkv_op(Format format, Activations activations) {
  // In the order of the formats, one variant each.
#define M40LLM_VARIANT(format, ...)          \
  {.name = "shared",                         \
   .kernel = {"qkv_" #format, qkv_##format}, \
   .config = nullptr,                        \
   .chain = exact,                           \
   .applies = applies,                       \
   .config_on = config},
  static constexpr Variant<QkvParams> kVariants[] = {M40LLM_FORMATS(M40LLM_VARIANT)};
#undef M40LLM_VARIANT
#define M40LLM_OP(format, ...)                                                                             \
  {"qkv_" #format, "qkv", std::span(kVariants).subspan(static_cast<std::size_t>(Format::format), 1), work, \
   rounds},
  static constexpr Op<QkvParams> kOps[] = {M40LLM_FORMATS(M40LLM_OP)};
#undef M40LLM_OP
#define M40LLM_VARIANT(format, ...)                    \
  {.name = kInt8Variant,                               \
   .kernel = {"qkv_int8_" #format, qkv_int8_##format}, \
   .config = nullptr,                                  \
   .chain = exact,                                     \
   .applies = fits_int8,                               \
   .config_on = with_integers},
  static constexpr Variant<QkvParams> kInt8Variants[] = {M40LLM_INTEGER_FORMATS(M40LLM_VARIANT)};
#undef M40LLM_VARIANT
#define M40LLM_OP(format, ...)                                                                            \
  {"qkv_int8_" #format, "qkv", std::span(kInt8Variants).subspan(integer_format(Format::format), 1), work, \
   rounds},
  static constexpr Op<QkvParams> kInt8Ops[] = {M40LLM_INTEGER_FORMATS(M40LLM_OP)};
#undef M40LLM_OP
  if (activations == Activations::int8 && has_integers(format)) return kInt8Ops[integer_format(format)];
  return kOps[static_cast<std::size_t>(format)];
}

}  // namespace m40llm
