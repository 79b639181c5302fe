#pragma once
#include "engine/ops/variant.hpp"
#include "kernels/kv_append.h"

namespace m40llm {

extern const Op<KvAppendParams> kKvAppend;

}  // namespace m40llm
