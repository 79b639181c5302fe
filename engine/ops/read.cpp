#include "engine/ops/read.hpp"

#include <algorithm>

#include "engine/ops/shapes.hpp"

extern "C" void read_parts(ReadParams);

namespace m40llm {
namespace {

constexpr unsigned kBlock = 256;
// 128 KB in flight an SM: several times what any GPU needs to be kept busy (bandwidth times latency).
constexpr int kBlocksAnSm = 4;

int n_parts(const ReadParams& p) { return div_up(p.n, kReadPart); }

LaunchConfig config(const ReadParams& p, int n_sms) {
  const unsigned all = udiv_up(n_parts(p), kBlock / kWarpSize);
  return overlapping({{std::min(static_cast<unsigned>(n_sms * kBlocksAnSm), all)}, kBlock});
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
