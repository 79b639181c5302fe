// Ops with one output an element and a thread for each.
#include "engine/ops/ops.hpp"
#include "engine/ops/shapes.hpp"

extern "C" {
void cast_f32_f16(CastParams);
void kv_append(KvAppendParams);
void swiglu(SwigluParams);
void residual_add(ResidualAddParams);
}

namespace m40llm {
namespace {

constexpr Variant<CastParams> kCast[] = {{"element",
                                          {"cast_f32_f16", cast_f32_f16},
                                          [](const CastParams& p) { return elementwise(p.n); },
                                          [](const CastParams&, int) { return 1; }}};

constexpr Variant<KvAppendParams> kAppend[] = {
    {"element",
     {"kv_append", kv_append},
     [](const KvAppendParams& p) { return elementwise(p.n_kv_heads * p.head_dim); },
     [](const KvAppendParams&, int) { return 1; }}};

constexpr Variant<SwigluParams> kSwigluRows[] = {{"element",
                                                  {"swiglu", swiglu},
                                                  [](const SwigluParams& p) { return elementwise(p.n); },
                                                  [](const SwigluParams&, int) { return 4; }}};

constexpr Variant<ResidualAddParams> kResidual[] = {
    {"element",
     {"residual_add", residual_add},
     [](const ResidualAddParams& p) { return elementwise(p.n); },
     [](const ResidualAddParams&, int) { return 1; }}};

}  // namespace

const Op<CastParams> kCastF32F16{"cast_f32_f16", "cast", kCast, [](const CastParams& p) {
                                   return Work{p.n * 6.0, 0.0};
                                 }};
const Op<KvAppendParams> kKvAppend{"kv_append", "kv_append", kAppend, [](const KvAppendParams& p) {
                                     return Work{2.0 * p.n_kv_heads * p.head_dim * 6.0, 0.0};
                                   }};
const Op<SwigluParams> kSwiglu{"swiglu", "swiglu", kSwigluRows, [](const SwigluParams& p) {
                                 return Work{p.n * 12.0, p.n * 4.0};
                               }};
const Op<ResidualAddParams> kResidualAdd{"residual_add", "residual_add", kResidual,
                                         [](const ResidualAddParams& p) {
                                           return Work{p.n * 12.0, p.n * 1.0};
                                         }};

}  // namespace m40llm
