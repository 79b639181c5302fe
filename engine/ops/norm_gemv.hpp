#pragma once
#include "engine/ops/gemv.hpp"
#include "engine/ops/variant.hpp"
#include "kernels/norm_gemv.h"

namespace m40llm {

/// The product with a normalized row, for weights of a format: "norm_gemv_q4_1", "norm_gemv_int8_q4_1".
const Op<NormGemvParams>& norm_gemv_op(Format format, Activations activations);

}  // namespace m40llm
