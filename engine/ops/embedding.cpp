#include "engine/ops/embedding.hpp"
#include "engine/ops/shapes.hpp"

extern "C" {
void embedding_f32(EmbeddingParams);
void embedding_f16(EmbeddingParams);
void embedding_q8_0(EmbeddingParams);
void embedding_q4_1(EmbeddingParams);
}

namespace m40llm {
namespace {

LaunchConfig config(const EmbeddingParams& p) { return elementwise(p.table.cols); }
int exact(const EmbeddingParams&, int) { return 0; }
int one_rounding(const EmbeddingParams&, int) { return 1; }
template <int kBitsPer32Weights>
Work work(const EmbeddingParams& p) {
  return {p.table.cols * (kBitsPer32Weights / 32.0 / 8.0 + sizeof(float)), 0.0};
}

constexpr Variant<EmbeddingParams> kF32[] = {{"element", {"embedding_f32", embedding_f32}, config, exact}};
constexpr Variant<EmbeddingParams> kF16[] = {{"element", {"embedding_f16", embedding_f16}, config, exact}};
constexpr Variant<EmbeddingParams> kQ8_0[] = {
    {"element", {"embedding_q8_0", embedding_q8_0}, config, one_rounding}};
constexpr Variant<EmbeddingParams> kQ4_1[] = {
    {"element", {"embedding_q4_1", embedding_q4_1}, config, one_rounding}};

}  // namespace

const Op<EmbeddingParams> kEmbeddingF32{"embedding_f32", "embedding", kF32, work<32 * 32>};
const Op<EmbeddingParams> kEmbeddingF16{"embedding_f16", "embedding", kF16, work<32 * 16>};
const Op<EmbeddingParams> kEmbeddingQ8_0{"embedding_q8_0", "embedding", kQ8_0, work<34 * 8>};
const Op<EmbeddingParams> kEmbeddingQ4_1{"embedding_q4_1", "embedding", kQ4_1, work<20 * 8>};

}  // namespace m40llm
