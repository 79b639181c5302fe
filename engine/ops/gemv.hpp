#pragma once
#include "engine/ops/variant.hpp"
#include "kernels/gemv.h"

namespace m40llm {

extern const Op<GemvParams> kGemvF32, kGemvF16, kGemvQ8_0, kGemvQ4_1;

}  // namespace m40llm
