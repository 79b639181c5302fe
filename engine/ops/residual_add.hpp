#pragma once
#include "engine/ops/variant.hpp"
#include "kernels/residual_add.h"

namespace m40llm {

extern const Op<ResidualAddParams> kResidualAdd;

}  // namespace m40llm
