#pragma once
#include "engine/ops/variant.hpp"
#include "kernels/read.h"

namespace m40llm {

extern const Op<ReadParams> kRead;

}  // namespace m40llm
