#pragma once
#include "engine/ops/variant.hpp"
#include "kernels/advance.h"

namespace m40llm {

extern const Op<AdvanceParams> kAdvance;

}  // namespace m40llm
