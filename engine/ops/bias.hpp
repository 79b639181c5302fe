#pragma once
#include "engine/ops/variant.hpp"
#include "kernels/bias.h"

namespace m40llm {

extern const Op<BiasParams> kBias;

}  // namespace m40llm
