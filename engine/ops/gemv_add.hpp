#pragma once
#include "engine/ops/gemv.hpp"
#include "engine/ops/variant.hpp"
#include "kernels/gemv_add.h"

namespace m40llm {

/// A product added to what is there, for weights of a format: "gemv_add_q4_1", "gemv_add_int8_q4_1".
const Op<GemvAddParams>& gemv_add_op(Format format, Activations activations);

}  // namespace m40llm
