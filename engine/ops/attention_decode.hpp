#pragma once
#include "engine/ops/variant.hpp"
#include "kernels/attention_decode.h"

namespace m40llm {

extern const Op<AttentionDecodeParams> kAttentionDecode;

}  // namespace m40llm
