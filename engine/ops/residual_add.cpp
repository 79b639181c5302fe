#include "engine/ops/residual_add.hpp"

#include "engine/ops/shapes.hpp"

extern "C" void residual_add(ResidualAddParams);

namespace m40llm {
namespace {

constexpr Variant<ResidualAddParams> kResidual[] = {
    {"element",
     {"residual_add", residual_add},
     [](const ResidualAddParams& p) { return elementwise(p.n); },
     [](const ResidualAddParams&, int) { return 1; }}};

}  // namespace

const Op<ResidualAddParams> kResidualAdd{"residual_add", "residual_add", kResidual,
                                         [](const ResidualAddParams& p) {
                                           return Work{p.n * 12.0, p.n * 1.0};
                                         }};

}  // namespace m40llm
