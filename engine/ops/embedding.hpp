#pragma once
#include "engine/ops/variant.hpp"
#include "kernels/embedding.h"

namespace m40llm {

/// The row of a table of a format: "embedding_q4_1".
const Op<EmbeddingParams>& embedding_op(Format format);

}  // namespace m40llm
