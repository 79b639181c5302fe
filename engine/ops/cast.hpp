#pragma once
#include "engine/ops/variant.hpp"
#include "kernels/cast.h"

namespace m40llm {

extern const Op<CastParams> kCastF32F16;

}  // namespace m40llm
