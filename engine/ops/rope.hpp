#pragma once
#include "engine/ops/variant.hpp"
#include "kernels/rope.h"

namespace m40llm {

extern const Op<RopeParams> kRopeNormal, kRopeNeox;

}  // namespace m40llm
