#include <algorithm>
#include <cstdint>
#include <limits>

#include "engine/ops/attention_decode.hpp"
#include "engine/ops/shapes.hpp"

extern "C" {
void attention_decode_tile(AttentionDecodeParams);
void attention_decode_warps(AttentionDecodeParams);
void attention_decode_split_1(AttentionDecodeParams);
void attention_decode_split_2(AttentionDecodeParams);
void attention_decode_split_3(AttentionDecodeParams);
void attention_decode_split_4(AttentionDecodeParams);
}

namespace m40llm {
namespace {

template <unsigned threads>
LaunchConfig block_a_head(const AttentionDecodeParams& p) {
  return {{static_cast<unsigned>(p.n_rows * p.n_heads)}, threads};
}
bool heads_of_128(const AttentionDecodeParams& p) { return p.head_dim <= 128; }

constexpr int kTile = 128;
int tile_chain(const AttentionDecodeParams& p, int n_positions) {
  const int groups = kTile / p.head_dim;
  const int tiles = div_up(n_positions, kTile);
  const int in_last = n_positions - (tiles - 1) * kTile;
  // A group's positions and a rescale in each tile, then the groups.
  const int output = (tiles - 1) * div_up(kTile, groups) + div_up(in_last, groups) + tiles + groups - 1;
  const int total = kWarpSumChain + 2 + tiles;
  return std::max(output, total) + 1;  // and their quotient
}
/// Two roundings a position of a warp, then the eight warps and the quotient.
int warps_chain(const AttentionDecodeParams&, int n_positions) { return 2 * div_up(n_positions, 8) + 8 + 1; }

// split: a kernel for each number of heads a unit, so that none keeps registers for heads that are not there.
constexpr int kSplitThreads = 128;
constexpr Kernel<AttentionDecodeParams> kSplit[] = {{"attention_decode_split_1", attention_decode_split_1},
                                                    {"attention_decode_split_2", attention_decode_split_2},
                                                    {"attention_decode_split_3", attention_decode_split_3},
                                                    {"attention_decode_split_4", attention_decode_split_4}};
constexpr int kMostHeads = static_cast<int>(std::size(kSplit));
static_assert(std::size(kAttentionBlocks) == std::size(kSplit));

/// The query heads of a KV head, in sets as even as can be.
int sets_of_heads(const AttentionDecodeParams& p) { return div_up(p.n_heads / p.n_kv_heads, kMostHeads); }
std::int64_t n_sets(const AttentionDecodeParams& p) {
  return std::int64_t{p.n_rows} * p.n_kv_heads * sets_of_heads(p);
}
int chunks_of_room(const AttentionDecodeParams& p) { return div_up(p.cache.n_positions, kAttentionChunk); }

/// Of what is kept of each chunk; none where there is only one.
std::size_t n_results(const AttentionDecodeParams& p) {
  if (chunks_of_room(p) == 1) return 0;
  return static_cast<std::size_t>(p.n_rows) * static_cast<std::size_t>(p.n_heads) *
         static_cast<std::size_t>(chunks_of_room(p));
}
std::size_t split_scratch(const AttentionDecodeParams& p, int) {
  return n_results(p) * (static_cast<std::size_t>(p.head_dim) + 2) * sizeof(float);
}
std::size_t split_state(const AttentionDecodeParams& p, int) {
  return chunks_of_room(p) == 1 ? 0 : static_cast<std::size_t>(n_sets(p)) * sizeof(unsigned);
}
std::vector<Launch> split(const AttentionDecodeParams& p, int n_sms, const WorkMemory& memory) {
  AttentionDecodeParams with = p;
  if (memory.scratch != nullptr) {
    auto* const outputs = reinterpret_cast<float*>(memory.scratch);
    float* const bests = outputs + n_results(p) * static_cast<std::size_t>(p.head_dim);
    with.chunks = {outputs, bests, bests + n_results(p), reinterpret_cast<unsigned*>(memory.state),
                   chunks_of_room(p)};
  }
  const int heads = heads_a_unit(p);
  const std::int64_t at_once = std::int64_t{n_sms} * kAttentionBlocks[heads - 1];
  const std::int64_t blocks = std::min(at_once, n_sets(p) * chunks_of_room(p));
  return {Launch(kSplit[heads - 1], overlapping({{static_cast<unsigned>(blocks)}, kSplitThreads}), with)};
}
/// The units are counted in an int.
bool split_applies(const AttentionDecodeParams& p) {
  return p.head_dim <= kAttentionHeadDim && n_sets(p) * chunks_of_room(p) <= std::numeric_limits<int>::max();
}
int split_chain(const AttentionDecodeParams& p, int n_positions) {
  int lanes = 1;
  while (8 * lanes < p.head_dim) lanes *= 2;
  const int slots = kSplitThreads / lanes;
  const int chunks = div_up(n_positions, kAttentionChunk);
  const int in_largest = std::min(n_positions, kAttentionChunk);
  // A slot's positions, by fours, and the slots; a lane's two exponentials and the lanes.
  int output = 4 * div_up(in_largest, 4 * slots) + slots - 1;
  int total = 1 + kWarpSumChain;
  if (chunks > 1) {
    output += chunks;
    total += div_up(chunks, 32) + kWarpSumChain;
  }
  return std::max(output, total) + 1;  // and their quotient
}

constexpr Variant<AttentionDecodeParams> kVariants[] = {
    {.name = "split",
     .kernel = kSplit[kMostHeads - 1],
     .config = nullptr,
     .chain = split_chain,
     .applies = split_applies,
     .all = split,
     .scratch = split_scratch,
     .state = split_state},
    // Faster than tile at every size recorded on an H100: 40, 151 and 663 us where that takes 53, 204 and 1640.
    {"warps",
     {"attention_decode_warps", attention_decode_warps},
     block_a_head<256>,
     warps_chain,
     heads_of_128},
    {"tile", {"attention_decode_tile", attention_decode_tile}, block_a_head<128>, tile_chain, heads_of_128},
};

}  // namespace

int heads_a_unit(const AttentionDecodeParams& p) {
  return div_up(p.n_heads / p.n_kv_heads, sets_of_heads(p));
}

const Op<AttentionDecodeParams> kAttentionDecode{
    "attention_decode", "attention_decode", kVariants,
    // Without the length the cache cannot be counted: the harness adds it for its cases.
    [](const AttentionDecodeParams& p) {
      return Work{8.0 * p.n_rows * p.n_heads * p.head_dim, 0.0};
    }};

}  // namespace m40llm
