#include "engine/ops/swiglu.hpp"

#include "engine/ops/shapes.hpp"

extern "C" void swiglu(SwigluParams);

namespace m40llm {
namespace {

constexpr Variant<SwigluParams> kSwigluRows[] = {{"element",
                                                  {"swiglu", swiglu},
                                                  [](const SwigluParams& p) { return elementwise(p.n); },
                                                  [](const SwigluParams&, int) { return 4; }}};

}  // namespace

const Op<SwigluParams> kSwiglu{"swiglu", "swiglu", kSwigluRows, [](const SwigluParams& p) {
                                 return Work{p.n * 12.0, p.n * 4.0};
                               }};

}  // namespace m40llm
