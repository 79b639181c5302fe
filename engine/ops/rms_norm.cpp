#include "engine/ops/rms_norm.hpp"
#include "engine/ops/shapes.hpp"

extern "C" {
void rms_norm_block(RmsNormParams);
void rms_norm_warp(RmsNormParams);
}

namespace m40llm {
namespace {

constexpr int kBlock = 256;

LaunchConfig block_a_row(const RmsNormParams& p) { return {{static_cast<unsigned>(p.n_rows)}, kBlock}; }
// Behind the sum of squares: mean, eps, root, reciprocal, and the products with it and with the weight.
constexpr int kBehindTheSum = 6;
int block_chain(const RmsNormParams& p, int) {
  return div_up(p.width, kBlock) + 2 * kWarpSumChain + kBehindTheSum;
}
LaunchConfig warp_a_row(const RmsNormParams& p) { return {{udiv_up(p.n_rows, kBlock / 32)}, kBlock}; }
int warp_chain(const RmsNormParams& p, int) {
  return div_up(p.width, 128) + 2 + kWarpSumChain + kBehindTheSum;
}
bool whole_float4s(const RmsNormParams& p) { return p.width % 4 == 0; }

constexpr Variant<RmsNormParams> kVariants[] = {
    {"block", {"rms_norm_block", rms_norm_block}, block_a_row, block_chain},
    {"warp", {"rms_norm_warp", rms_norm_warp}, warp_a_row, warp_chain, whole_float4s},
};

}  // namespace

const Op<RmsNormParams> kRmsNorm{"rms_norm", "rms_norm", kVariants, [](const RmsNormParams& p) {
                                   const double n = static_cast<double>(p.n_rows) * p.width;
                                   return Work{8.0 * n + 4.0 * p.width, 4.0 * n};
                                 }};

}  // namespace m40llm
