#pragma once
#include "engine/ops/variant.hpp"
#include "kernels/embedding.h"

namespace m40llm {

extern const Op<EmbeddingParams> kEmbeddingF32, kEmbeddingF16, kEmbeddingQ8_0, kEmbeddingQ4_1;

}  // namespace m40llm
