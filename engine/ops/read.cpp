#include "engine/ops/read.hpp"

#include <algorithm>

#include "engine/ops/shapes.hpp"

extern "C" void read_parts(ReadParams);

namespace m40llm {
namespace {

int n_parts(const ReadParams& p) { return div_up(p.n, kReadPart); }

LaunchConfig config(const ReadParams& p, int n_sms) {
  const int blocks = std::min(n_sms * kReadBlocks, div_up(n_parts(p), kReadThreads / 32));
  return overlapping({{static_cast<unsigned>(blocks)}, kReadThreads});
}

constexpr Variant<ReadParams> kVariants[] = {{.name = "parts",
                                              .kernel = {"read_parts", read_parts},
                                              .config = nullptr,
                                              .chain = [](const ReadParams&, int) { return 0; },
                                              .config_on = config}};

}  // namespace

const Op<ReadParams> kRead{"read", "read", kVariants, [](const ReadParams& p) {
                             return Work{4.0 * p.n + 4.0 * n_parts(p), 0.0};
                           }};

}  // namespace m40llm
