#pragma once
#include "engine/ops/variant.hpp"
#include "kernels/rms_norm.h"

namespace m40llm {

extern const Op<RmsNormParams> kRmsNorm;

}  // namespace m40llm
