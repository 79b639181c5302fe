#include "engine/ops/ops.hpp"
#include "engine/ops/shapes.hpp"

extern "C" {
void attention_decode_tile(AttentionDecodeParams);
void attention_decode_tile_ldg(AttentionDecodeParams);
void attention_decode_warps(AttentionDecodeParams);
}

namespace m40llm {
namespace {

template <unsigned threads>
LaunchConfig block_a_head(const AttentionDecodeParams& p) {
  return {{static_cast<unsigned>(p.n_heads)}, threads};
}
// The length stands in device memory: the chains of the sums over positions count what one thread adds for up
// to 4096 of them; the gate takes the case's own length (see longest_chain in the suite).
int tile_chain(const AttentionDecodeParams& p) { return p.head_dim / 4 + 3; }
int warps_chain(const AttentionDecodeParams& p) { return div_up(p.head_dim, 32) + kWarpSumChain; }

constexpr Variant<AttentionDecodeParams> kVariants[] = {
    {"tile", {"attention_decode_tile", attention_decode_tile}, block_a_head<128>, tile_chain},
    {"tile_ldg", {"attention_decode_tile_ldg", attention_decode_tile_ldg}, block_a_head<128>, tile_chain},
    {"warps", {"attention_decode_warps", attention_decode_warps}, block_a_head<256>, warps_chain},
};

}  // namespace

const Op<AttentionDecodeParams> kAttentionDecode{
    "attention_decode", "attention_decode", kVariants,
    // Without the length the cache cannot be counted: the harness adds it for its cases.
    [](const AttentionDecodeParams& p) {
      return Work{8.0 * p.n_heads * p.head_dim, 0.0};
    }};

}  // namespace m40llm
