#pragma once
#include "engine/ops/variant.hpp"
#include "kernels/swiglu.h"

namespace m40llm {

extern const Op<SwigluParams> kSwiglu;

}  // namespace m40llm
