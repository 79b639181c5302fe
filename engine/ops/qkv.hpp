#pragma once
#include "engine/ops/gemv.hpp"
#include "engine/ops/variant.hpp"
#include "kernels/qkv.h"

namespace m40llm {

/// What stands before attention, for weights of a format: "qkv_q4_1", "qkv_int8_q4_1".
const Op<QkvParams>& qkv_op(Format format, Activations activations);

}  // namespace m40llm
