#pragma once
#include "engine/ops/variant.hpp"
#include "kernels/argmax.h"
#include "kernels/attention_decode.h"
#include "kernels/cast.h"
#include "kernels/embedding.h"
#include "kernels/gemv.h"
#include "kernels/kv_append.h"
#include "kernels/residual_add.h"
#include "kernels/rms_norm.h"
#include "kernels/rope.h"
#include "kernels/swiglu.h"

/// The ops of a Llama forward at batch 1. Each table stands in the file of its name.
namespace m40llm {

extern const Op<EmbeddingParams> kEmbeddingF32, kEmbeddingF16, kEmbeddingQ8_0, kEmbeddingQ4_1;
extern const Op<CastParams> kCastF32F16;
extern const Op<RmsNormParams> kRmsNorm;
extern const Op<RopeParams> kRopeNormal, kRopeNeox;
extern const Op<GemvParams> kGemvF32, kGemvF16, kGemvQ8_0, kGemvQ4_1;
extern const Op<KvAppendParams> kKvAppend;
extern const Op<AttentionDecodeParams> kAttentionDecode;
extern const Op<SwigluParams> kSwiglu;
extern const Op<ResidualAddParams> kResidualAdd;
extern const Op<ArgmaxParams> kArgmax;

}  // namespace m40llm
