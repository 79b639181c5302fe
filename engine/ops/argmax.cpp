#include "engine/ops/argmax.hpp"
#include "engine/ops/shapes.hpp"

extern "C" void argmax_block(ArgmaxParams);

namespace m40llm {
namespace {
constexpr Variant<ArgmaxParams> kVariants[] = {{"block",
                                                {"argmax_block", argmax_block},
                                                [](const ArgmaxParams&) {
                                                  return LaunchConfig{{1}, 1024};
                                                },
                                                [](const ArgmaxParams&, int) { return 0; }}};
}  // namespace

const Op<ArgmaxParams> kArgmax{"argmax", "argmax", kVariants, [](const ArgmaxParams& p) {
                                 return Work{4.0 * p.n, 0.0};
                               }};

}  // namespace m40llm
