#pragma once
#include "engine/ops/variant.hpp"
#include "kernels/argmax.h"

namespace m40llm {

extern const Op<ArgmaxParams> kArgmax;

}  // namespace m40llm
