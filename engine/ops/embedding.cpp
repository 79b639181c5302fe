#include "engine/ops/embedding.hpp"

#include "engine/ops/shapes.hpp"

namespace m40llm {
namespace {

LaunchConfig config(const EmbeddingParams& p) { return overlapping(elementwise(p.table.cols)); }
int chain(const EmbeddingParams& p, int) { return traits(p.table.format).roundings; }
Work work(const EmbeddingParams& p) {
  return {p.table.cols * (bits_per_weight(p.table.format) / 8 + sizeof(float)), 0.0};
}

}  // namespace

#define M40LLM_KERNEL(format, ...) extern "C" void embedding_##format(EmbeddingParams);
M40LLM_FORMATS(M40LLM_KERNEL)
#undef M40LLM_KERNEL

const Op<EmbeddingParams>& embedding_op(Format format) {
  // In the order of the formats, one variant each.
#define M40LLM_VARIANT(format, ...) {"element", {"embedding_" #format, embedding_##format}, config, chain},
  static constexpr Variant<EmbeddingParams> kVariants[] = {M40LLM_FORMATS(M40LLM_VARIANT)};
#undef M40LLM_VARIANT
#define M40LLM_OP(format, ...)        \
  {"embedding_" #format, "embedding", \
   std::span(kVariants).subspan(static_cast<std::size_t>(Format::format), 1), work},
  static constexpr Op<EmbeddingParams> kOps[] = {M40LLM_FORMATS(M40LLM_OP)};
#undef M40LLM_OP
  return kOps[static_cast<std::size_t>(format)];
}

}  // namespace m40llm
