#pragma once
#include "engine/ops/variant.hpp"
#include "kernels/gemv.h"

namespace m40llm {

/// The product for weights of a format: "gemv_q4_1".
const Op<GemvParams>& gemv_op(Format format);

}  // namespace m40llm
