#pragma once
#include "engine/ops/variant.hpp"
#include "kernels/norm_gemv.h"

namespace m40llm {

/// The product with a normalized row, for weights of a format: "norm_gemv_q4_1".
const Op<NormGemvParams>& norm_gemv_op(Format format);

}  // namespace m40llm
