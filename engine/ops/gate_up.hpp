#pragma once
#include "engine/ops/gemv.hpp"
#include "engine/ops/variant.hpp"
#include "kernels/gate_up.h"

namespace m40llm {

/// The first half of a feed-forward, for weights of a format: "gate_up_q4_1", "gate_up_int8_q4_1".
const Op<GateUpParams>& gate_up_op(Format format, Activations activations);

}  // namespace m40llm
