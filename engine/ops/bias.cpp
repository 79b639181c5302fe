#include "engine/ops/bias.hpp"

#include "engine/ops/shapes.hpp"

extern "C" void bias(BiasParams);

namespace m40llm {
namespace {

LaunchConfig thread_an_element(const BiasParams& p) {
  return {{udiv_up(p.n, 256), static_cast<unsigned>(p.n_rows)}, 256};
}

constexpr Variant<BiasParams> kVariants[] = {
    {"element", {"bias", bias}, thread_an_element, [](const BiasParams&, int) { return 1; }}};

}  // namespace

const Op<BiasParams> kBias{"bias", "bias", kVariants, [](const BiasParams& p) {
                             const double n = static_cast<double>(p.n_rows) * p.n;
                             return Work{n * 8.0 + p.n * 4.0, n};
                           }};

}  // namespace m40llm
