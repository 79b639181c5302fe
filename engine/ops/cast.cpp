#include "engine/ops/cast.hpp"

#include "engine/ops/shapes.hpp"

extern "C" void cast_f32_f16(CastParams);

namespace m40llm {
namespace {

constexpr Variant<CastParams> kCast[] = {{"element",
                                          {"cast_f32_f16", cast_f32_f16},
                                          [](const CastParams& p) { return elementwise(p.n); },
                                          [](const CastParams&, int) { return 1; }}};

}  // namespace

const Op<CastParams> kCastF32F16{"cast_f32_f16", "cast", kCast, [](const CastParams& p) {
                                   return Work{p.n * 6.0, 0.0};
                                 }};

}  // namespace m40llm
