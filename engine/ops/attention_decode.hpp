#pragma once
#include "engine/ops/variant.hpp"
#include "kernels/attention_decode.h"

namespace m40llm {

extern const Op<AttentionDecodeParams> kAttentionDecode;

/// Query heads that share a unit of the variant split.
int heads_a_unit(const AttentionDecodeParams& p);

/// What each position that is attended to adds to the op's work, which cannot know how many there are.
inline Work work_a_position(const AttentionDecodeParams& p) {
  return {2.0 * sizeof(half) * p.n_kv_heads * p.head_dim, 4.0 * p.n_heads * p.head_dim};
}

}  // namespace m40llm
