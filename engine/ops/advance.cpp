#include "engine/ops/advance.hpp"

#include "engine/ops/shapes.hpp"

extern "C" void advance(AdvanceParams);

namespace m40llm {
namespace {

constexpr Variant<AdvanceParams> kVariants[] = {
    {"row",
     {"advance", advance},
     [](const AdvanceParams& p) { return overlapping(elementwise(p.n_rows)); },
     [](const AdvanceParams&, int) { return 0; }}};

}  // namespace

// Position in and out, the prompt's length, one token in and out.
const Op<AdvanceParams> kAdvance{"advance", "advance", kVariants, [](const AdvanceParams& p) {
                                   return Work{p.n_rows * 20.0, 0.0};
                                 }};

}  // namespace m40llm
