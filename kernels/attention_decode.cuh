#pragma once
// 1. tile: a block a query head, which at batch 1 are fewer than an M40's 24 SMs for small models. 128 positions a
//    step, a thread a position for the scores (no shuffles), then a thread an output element over the tile. One
//    rescale a tile. With K and V through the read-only cache (kReadonly) it is as fast on an H100 and an H200.
// 2. warps: a block a query head; eight warps, each a position in turn with its lanes over head_dim; scores by
//    warp_sum, one rescale a position; the warps' parts are merged at the end. K and V are read in whole rows.
// 3. split: a unit is a chunk of 64 positions for up to four query heads of a KV head, so that there is work for all
//    SMs at any number of heads, and K and V are read once for these heads. A lane reads 16 bytes a load, four loads in flight, and
//    keeps eight dimensions of each head's q, then of its output, in registers. The chunk's scores meet in shared memory: one maximum, each exponential made once, nothing rescaled
//    within it. Chunks are merged in their order by whoever is done last (flash-decoding, Dao et al., 2023).
//    64 positions give SmolLM2's three KV heads at 512 positions 24 units; what 4 heads then write and read again of
//    partial outputs is an eighth of the bytes of K and V, mostly in L2.
// In tile and warps softmax runs online: maximum, sum and output are rescaled when the maximum grows (Milakov and
// Gimelshein, 2018).
#include "kernels/attention_decode.h"
#include "kernels/device.cuh"

namespace ops::attention_decode {

constexpr int kTile = 128;  // positions and threads
constexpr int kMaxHeadDim = 128;

__device__ __forceinline__ float minus_infinity() { return bits_to_float(0xff800000u); }

/// exp(score - best); of a score of -infinity 0, also while that is the best so far.
__device__ __forceinline__ float exp_below(float best, float score) {
  return score == minus_infinity() ? 0.f : exp_f32(score - best);
}

/// What one head of one row reads and writes.
struct Sequence {
  const float* q;  // (head_dim)
  const half* k;   // of its KV head, from position 0 on
  const half* v;
  float* y;  // (head_dim)
  int n_positions;
};
__device__ __forceinline__ Sequence sequence_of(const AttentionDecodeParams& p, int unit) {
  const int row = unit / p.n_heads;
  const int kv_head = unit % p.n_heads / (p.n_heads / p.n_kv_heads);
  const long long start =
      p.sequence[row] * p.cache.sequence_stride + static_cast<long long>(kv_head) * p.cache.head_stride;
  const long long output = static_cast<long long>(unit) * p.head_dim;
  return {p.q + output, p.cache.k + start, p.cache.v + start, p.y + output, p.position[row] + 1};
}

struct TileShared {
  float q[kMaxHeadDim];
  float probability[kTile];
  float part[kTile];
  float warp_best[kTile / 32];
  float warp_total[kTile / 32];
};

/// One head of one row: `unit` counts through the heads of all rows. The group's sync() must stand between two uses
/// of `shared`.
template <bool kReadonly>
__device__ __forceinline__ void tile(const Group<kTile>& block, const AttentionDecodeParams& p, int unit,
                                     TileShared& shared) {
  const int thread = block.thread;
  const Sequence sequence = sequence_of(p, unit);
  const half* const __restrict__ k = sequence.k;
  const half* const __restrict__ v = sequence.v;
  const int n_positions = sequence.n_positions;
  // Output elements: thread `dim` of `groups` groups; each group takes every groups-th position of a tile.
  const int groups = kTile / p.head_dim;
  const int group = thread / p.head_dim;
  const int dim = thread % p.head_dim;

  if (thread < p.head_dim) shared.q[thread] = sequence.q[thread];
  block.sync();
  float best = minus_infinity();
  float total = 0.f;
  float out = 0.f;
  for (int start = 0; start < n_positions; start += kTile) {
    const int n = n_positions - start < kTile ? n_positions - start : kTile;
    float score = minus_infinity();
    if (thread < n) {
      const uint4* const row = reinterpret_cast<const uint4*>(k + static_cast<long long>(start + thread) *
                                                                      p.cache.position_stride);
      float4 sum = {0.f, 0.f, 0.f, 0.f};
#pragma unroll 4
      for (int i = 0; i < p.head_dim / 8; ++i) {
        const Floats8 key = halfs_to_floats(load<kReadonly>(row + i));
        sum.x = fmaf(key.v[0], shared.q[8 * i], sum.x);
        sum.y = fmaf(key.v[1], shared.q[8 * i + 1], sum.y);
        sum.z = fmaf(key.v[2], shared.q[8 * i + 2], sum.z);
        sum.w = fmaf(key.v[3], shared.q[8 * i + 3], sum.w);
        sum.x = fmaf(key.v[4], shared.q[8 * i + 4], sum.x);
        sum.y = fmaf(key.v[5], shared.q[8 * i + 5], sum.y);
        sum.z = fmaf(key.v[6], shared.q[8 * i + 6], sum.z);
        sum.w = fmaf(key.v[7], shared.q[8 * i + 7], sum.w);
      }
      score = ((sum.x + sum.y) + (sum.z + sum.w)) * p.scale;
    }
    const float warp_largest = warp_max(score);
    if (thread % 32 == 0) shared.warp_best[thread / 32] = warp_largest;
    block.sync();
    float new_best = best;
    for (int w = 0; w < kTile / 32; ++w) new_best = larger(new_best, shared.warp_best[w]);
    const float mine = thread < n ? exp_below(new_best, score) : 0.f;
    shared.probability[thread] = mine;
    const float warp_sum_of_mine = warp_sum(mine);
    if (thread % 32 == 0) shared.warp_total[thread / 32] = warp_sum_of_mine;
    block.sync();
    const float keep = exp_below(new_best, best);  // 0 for the first tile
    best = new_best;
    total =
        fmaf(total, keep,
             (shared.warp_total[0] + shared.warp_total[1]) + (shared.warp_total[2] + shared.warp_total[3]));
    out *= keep;
    if (group < groups) {
#pragma unroll 8
      for (int j = group; j < n; j += groups) {
        const half* const at = v + static_cast<long long>(start + j) * p.cache.position_stride + dim;
        const half value = {load<kReadonly>(&at->bits)};
        out = fmaf(shared.probability[j], half_to_float(value), out);
      }
    }
    // No barrier here: what the next tile writes before its first one was last read before this tile's second.
  }
  shared.part[thread] = out;
  block.sync();
  if (thread < p.head_dim) {
    float sum = shared.part[thread];
    for (int g = 1; g < groups; ++g) sum += shared.part[g * p.head_dim + thread];
    sequence.y[thread] = sum / total;
  }
}

constexpr int kWarps = 8;
constexpr int kDimsPerLane = kMaxHeadDim / 32;

struct WarpsShared {
  float parts[kWarps][kMaxHeadDim];
  float bests[kWarps];
  float totals[kWarps];
};

/// One head of one row, as tile() does it.
__device__ __forceinline__ void warps(const Group<32 * kWarps>& block, const AttentionDecodeParams& p,
                                      int unit, WarpsShared& shared) {
  const int lane = block.thread % 32;
  const int warp = block.thread / 32;
  const Sequence sequence = sequence_of(p, unit);
  const half* const __restrict__ k = sequence.k;
  const half* const __restrict__ v = sequence.v;
  const int n_positions = sequence.n_positions;
  float q[kDimsPerLane];
  float out[kDimsPerLane];
  for (int i = 0; i < kDimsPerLane; ++i) {
    const int dim = lane + 32 * i;
    q[i] = dim < p.head_dim ? sequence.q[dim] : 0.f;
    out[i] = 0.f;
  }
  float best = minus_infinity();
  float total = 0.f;
  for (int j = warp; j < n_positions; j += kWarps) {
    const long long row = static_cast<long long>(j) * p.cache.position_stride;
    float sum = 0.f;
    for (int i = 0; i < kDimsPerLane; ++i) {
      const int dim = lane + 32 * i;
      if (dim < p.head_dim) sum = fmaf(half_to_float(k[row + dim]), q[i], sum);
    }
    const float score = warp_sum(sum) * p.scale;
    const float new_best = larger(best, score);
    const float keep = exp_below(new_best, best);
    const float probability = exp_below(new_best, score);
    best = new_best;
    total = fmaf(total, keep, probability);
    for (int i = 0; i < kDimsPerLane; ++i) {
      const int dim = lane + 32 * i;
      if (dim < p.head_dim) out[i] = fmaf(probability, half_to_float(v[row + dim]), out[i] * keep);
    }
  }
  for (int i = 0; i < kDimsPerLane; ++i) {
    const int dim = lane + 32 * i;
    if (dim < p.head_dim) shared.parts[warp][dim] = out[i];
  }
  if (lane == 0) {
    shared.bests[warp] = best;
    shared.totals[warp] = total;
  }
  block.sync();
  const int dim = block.thread;
  if (dim < p.head_dim) {
    float overall = shared.bests[0];
    for (int w = 1; w < kWarps; ++w) overall = larger(overall, shared.bests[w]);
    float numerator = 0.f;
    float denominator = 0.f;
    for (int w = 0; w < kWarps; ++w) {  // a warp without positions has best -infinity: its factor is 0
      const float factor = exp_f32(shared.bests[w] - overall);
      numerator = fmaf(shared.parts[w][dim], factor, numerator);
      denominator = fmaf(shared.totals[w], factor, denominator);
    }
    sequence.y[dim] = numerator / denominator;
  }
}

constexpr int kSplitThreads = 128;
constexpr int kChunk = kAttentionChunk;
constexpr int kBatch = 4;  // positions a lane loads together

template <int kHeads>
struct SplitShared {
  float probability[kHeads][kChunk];  // the scores at first
  float4 part[kHeads]
             [2 * kSplitThreads];  // outputs of each slot: first and last four dimensions of its lanes
  float best[kHeads];
  float total[kHeads];
  bool last;  // of its sequence's chunks to be done
};

/// What a unit reads and writes. Heads of a KV head beyond kHeads are another set.
struct SplitUnit {
  int row;
  int kv_head;
  int first_head;
  int n_heads;
  int set;  // counts through the sets of heads of all rows
  int chunk;
  int n_chunks;
  int n;  // positions of the chunk; 0 or less: the row ends before it
};
template <int kHeads>
__device__ __forceinline__ int sets_a_kv_head(const AttentionDecodeParams& p) {
  return (p.n_heads / p.n_kv_heads + kHeads - 1) / kHeads;
}
/// `unit` counts through the sets of heads of all rows, chunk by chunk.
template <int kHeads>
__device__ __forceinline__ SplitUnit split_unit(const AttentionDecodeParams& p, int unit) {
  const int sets = sets_a_kv_head<kHeads>(p);
  const int all_sets = p.n_rows * p.n_kv_heads * sets;
  const int group = p.n_heads / p.n_kv_heads;
  SplitUnit u;
  u.chunk = unit / all_sets;
  u.set = unit % all_sets;
  u.row = u.set / sets / p.n_kv_heads;
  u.kv_head = u.set / sets % p.n_kv_heads;
  const int behind = u.set % sets * kHeads;  // heads of the KV head that stand before
  u.first_head = u.kv_head * group + behind;
  u.n_heads = min_of(kHeads, group - behind);
  const int n_positions = p.position[u.row] + 1;
  u.n_chunks = (n_positions + kChunk - 1) / kChunk;
  u.n = min_of(kChunk, n_positions - u.chunk * kChunk);
  return u;
}

/// A thread's place: the block reads `slots` positions at once, each by so many adjacent lanes (a power of two), which
/// take eight dimensions each and are idle behind head_dim.
struct SplitPlace {
  int lanes;
  int lane;
  int slots;
  int slot;
};
__device__ __forceinline__ SplitPlace split_place(int thread, int head_dim) {
  int lanes = 1;
  while (8 * lanes < head_dim) lanes *= 2;
  return {lanes, thread % lanes, kSplitThreads / lanes, thread / lanes};
}

/// A lane's share of kBatch of the chunk's positions, from `first` on, each in its slot; zeros from position n on.
struct Batch {
  uint4 piece[kBatch];
};
__device__ __forceinline__ Batch load_batch(const half* __restrict__ at, int position_stride, int first,
                                            const SplitPlace& place, int n) {
  Batch batch;
#pragma unroll
  for (int i = 0; i < kBatch; ++i) {
    const int j = first + i * place.slots + place.slot;
    batch.piece[i] = {0u, 0u, 0u, 0u};
    if (j < n)
      batch.piece[i] = *reinterpret_cast<const uint4*>(at + static_cast<long long>(j) * position_stride);
  }
  return batch;
}

/// The index of a head's chunk in the chunks' memory.
__device__ __forceinline__ long long chunk_of(const AttentionDecodeParams& p, int row, int head, int chunk) {
  return (static_cast<long long>(row) * p.n_heads + head) * p.chunks.n_chunks + chunk;
}

/// Where the unit's heads have their output, four dimensions a float4.
__device__ __forceinline__ float4* quads_of_output(const AttentionDecodeParams& p, const SplitUnit& u) {
  return reinterpret_cast<float4*>(p.y +
                                   (static_cast<long long>(u.row) * p.n_heads + u.first_head) * p.head_dim);
}
__device__ __forceinline__ float4 quotient(const float4& sum, float total) {
  return {sum.x / total, sum.y / total, sum.z / total, sum.w / total};
}

/// The chunk's scores. k: the lane's dimensions of its first position. n: its positions, 0 for an idle lane.
template <int kHeads>
__device__ __forceinline__ void scores_of_chunk(const AttentionDecodeParams& p, const SplitUnit& u,
                                                const SplitPlace& place, const half* __restrict__ k, int n,
                                                SplitShared<kHeads>& shared) {
  float q[kHeads][8];
#pragma unroll
  for (int h = 0; h < kHeads; ++h) {
    const int head = u.first_head + min_of(h, u.n_heads - 1);
    const float4* const from = reinterpret_cast<const float4*>(
                                   p.q + (static_cast<long long>(u.row) * p.n_heads + head) * p.head_dim) +
                               2 * place.lane;
    float4 low = {0.f, 0.f, 0.f, 0.f};
    float4 high = {0.f, 0.f, 0.f, 0.f};
    if (n > 0) {
      low = from[0];
      high = from[1];
    }
    q[h][0] = low.x, q[h][1] = low.y, q[h][2] = low.z, q[h][3] = low.w;
    q[h][4] = high.x, q[h][5] = high.y, q[h][6] = high.z, q[h][7] = high.w;
  }
  for (int first = 0; first < u.n; first += kBatch * place.slots) {
    const Batch key = load_batch(k, p.cache.position_stride, first, place, n);
    float score[kHeads * kBatch];
#pragma unroll
    for (int i = 0; i < kBatch; ++i) {
      const Floats8 x = halfs_to_floats(key.piece[i]);
#pragma unroll
      for (int h = 0; h < kHeads; ++h) {
        float sum = 0.f;
#pragma unroll
        for (int d = 0; d < 8; ++d) sum = fmaf(x.v[d], q[h][d], sum);
        score[h * kBatch + i] = sum;
      }
    }
    warp_sums(score, static_cast<unsigned>(place.lanes));
#pragma unroll
    for (int i = 0; i < kBatch; ++i) {
      const int j = first + i * place.slots + place.slot;
      if (place.lane == 0 && j < u.n) {
#pragma unroll
        for (int h = 0; h < kHeads; ++h) shared.probability[h][j] = score[h * kBatch + i] * p.scale;
      }
    }
  }
}

/// Maximum and sum of the chunk's exponentials, a warp a head: scores become probabilities.
template <int kHeads>
__device__ __forceinline__ void softmax_of_chunk(int thread, int n, SplitShared<kHeads>& shared) {
  static_assert(32 * kHeads <= kSplitThreads && kChunk == 64);
  const int head = thread / 32;
  const int lane = thread % 32;
  if (head < kHeads) {
    float* const scores = shared.probability[head];
    const float low = lane < n ? scores[lane] : minus_infinity();
    const float high = lane + 32 < n ? scores[lane + 32] : minus_infinity();
    const float best = warp_max(larger(low, high));
    const float of_low = exp_below(best, low);
    const float of_high = exp_below(best, high);
    scores[lane] = of_low;
    scores[lane + 32] = of_high;
    const float total = warp_sum(of_low + of_high);
    if (lane == 0) {
      shared.best[head] = best;
      shared.total[head] = total;
    }
  }
}

/// The probabilities' sums of values, by slots; v and n as scores_of_chunk() has k and n. `value`: the first of them.
template <int kHeads>
__device__ __forceinline__ void outputs_of_slots(const AttentionDecodeParams& p, const SplitUnit& u,
                                                 const SplitPlace& place, const half* __restrict__ v, int n,
                                                 Batch value, SplitShared<kHeads>& shared) {
  float out[kHeads][8];
#pragma unroll
  for (int h = 0; h < kHeads; ++h) {
#pragma unroll
    for (int d = 0; d < 8; ++d) out[h][d] = 0.f;
  }
  for (int first = 0; first < u.n; first += kBatch * place.slots) {
    if (first != 0) value = load_batch(v, p.cache.position_stride, first, place, n);
#pragma unroll
    for (int i = 0; i < kBatch; ++i) {
      const int j = first + i * place.slots + place.slot;
      const Floats8 x = halfs_to_floats(value.piece[i]);
#pragma unroll
      for (int h = 0; h < kHeads; ++h) {
        const float probability = j < u.n ? shared.probability[h][j] : 0.f;
#pragma unroll
        for (int d = 0; d < 8; ++d) out[h][d] = fmaf(probability, x.v[d], out[h][d]);
      }
    }
  }
#pragma unroll
  for (int h = 0; h < kHeads; ++h) {
    float4* const part = shared.part[h] + place.slot * 2 * place.lanes + place.lane;
    part[0] = {out[h][0], out[h][1], out[h][2], out[h][3]};
    part[place.lanes] = {out[h][4], out[h][5], out[h][6], out[h][7]};
  }
}

/// Adds the slots: the output if the row has one chunk alone, else what is to be merged.
template <int kHeads>
__device__ __forceinline__ void write_chunk(int thread, const AttentionDecodeParams& p, const SplitUnit& u,
                                            const SplitPlace& place, const SplitShared<kHeads>& shared) {
  const int quads = p.head_dim / 4;
  for (int i = thread; i < u.n_heads * quads; i += kSplitThreads) {
    const int head = i / quads;
    const int quad = i % quads;
    const float4* const part = shared.part[head] + quad % 2 * place.lanes + quad / 2;
    float4 sum = part[0];
    for (int s = 1; s < place.slots; ++s) {
      const float4 other = part[s * 2 * place.lanes];
      sum = {sum.x + other.x, sum.y + other.y, sum.z + other.z, sum.w + other.w};
    }
    if (u.n_chunks == 1) {
      quads_of_output(p, u)[i] = quotient(sum, shared.total[head]);
    } else {
      const long long at = chunk_of(p, u.row, u.first_head + head, u.chunk);
      reinterpret_cast<float4*>(p.chunks.outputs)[at * quads + quad] = sum;
    }
  }
  if (u.n_chunks > 1 && thread < u.n_heads) {
    const long long at = chunk_of(p, u.row, u.first_head + thread, u.chunk);
    p.chunks.bests[at] = shared.best[thread];
    p.chunks.totals[at] = shared.total[thread];
  }
}

/// What each chunk of a head counts in the whole: where probabilities were, or, of more chunks, in the place of their maxima.
template <int kHeads>
__device__ __forceinline__ float* factors_of(const AttentionDecodeParams& p, const SplitUnit& u, int head,
                                             SplitShared<kHeads>& shared) {
  if (u.n_chunks <= kChunk) return shared.probability[head];
  return p.chunks.bests + chunk_of(p, u.row, u.first_head + head, 0);
}

/// The factors of a set of heads, and the heads' totals.
template <int kHeads>
__device__ __forceinline__ void weigh_chunks(int thread, const AttentionDecodeParams& p, const SplitUnit& u,
                                             SplitShared<kHeads>& shared) {
  const int warp = thread / 32;
  const int lane = thread % 32;
  if (warp < u.n_heads) {
    const long long first = chunk_of(p, u.row, u.first_head + warp, 0);
    float* const factors = factors_of(p, u, warp, shared);
    const float* const bests = p.chunks.bests + first;
    const float* const totals = p.chunks.totals + first;
    float best = minus_infinity();
    for (int c = lane; c < u.n_chunks; c += 32) best = larger(best, bests[c]);
    best = warp_max(best);
    float total = 0.f;
    for (int c = lane; c < u.n_chunks; c += 32) {
      const float factor = exp_below(best, bests[c]);
      total = fmaf(totals[c], factor, total);
      factors[c] = factor;
    }
    total = warp_sum(total);
    if (lane == 0) shared.total[warp] = total;
  }
}

/// The outputs of a set of heads from those of all of its chunks.
template <int kHeads>
__device__ __forceinline__ void merge_chunks(int thread, const AttentionDecodeParams& p, const SplitUnit& u,
                                             SplitShared<kHeads>& shared) {
  const int quads = p.head_dim / 4;
  for (int i = thread; i < u.n_heads * quads; i += kSplitThreads) {
    const int head = i / quads;
    const long long first = chunk_of(p, u.row, u.first_head + head, 0);
    const float* const factors = factors_of(p, u, head, shared);
    const float4* const outputs =
        reinterpret_cast<const float4*>(p.chunks.outputs) + first * quads + i % quads;
    float4 sum = {0.f, 0.f, 0.f, 0.f};
#pragma unroll 8
    for (int c = 0; c < u.n_chunks; ++c) {
      const float4 output = outputs[static_cast<long long>(c) * quads];
      const float factor = factors[c];
      sum.x = fmaf(output.x, factor, sum.x);
      sum.y = fmaf(output.y, factor, sum.y);
      sum.z = fmaf(output.z, factor, sum.z);
      sum.w = fmaf(output.w, factor, sum.w);
    }
    quads_of_output(p, u)[i] = quotient(sum, shared.total[head]);
  }
}

/// A chunk of a row for up to kHeads heads, or nothing, of a unit without positions. The group's sync() must stand between
/// two uses of `shared`. It is called alike whatever the unit is, so that a block may hold several groups.
template <int kHeads>
__device__ __forceinline__ void split(const Group<kSplitThreads>& block, const AttentionDecodeParams& p,
                                      const SplitUnit& u, SplitShared<kHeads>& shared) {
  const int thread = block.thread;
  const SplitPlace place = split_place(thread, p.head_dim);
  const int n = 8 * place.lane < p.head_dim ? u.n : 0;
  const long long start = p.sequence[u.row] * p.cache.sequence_stride +
                          static_cast<long long>(u.chunk * kChunk) * p.cache.position_stride +
                          static_cast<long long>(u.kv_head) * p.cache.head_stride + 8 * place.lane;
  scores_of_chunk(p, u, place, p.cache.k + start, n, shared);
  const Batch value = load_batch(p.cache.v + start, p.cache.position_stride, 0, place, n);
  block.sync();
  softmax_of_chunk(thread, u.n, shared);
  block.sync();
  outputs_of_slots(p, u, place, p.cache.v + start, n, value, shared);
  block.sync();
  if (u.n > 0) write_chunk(thread, p, u, place, shared);
  if (p.chunks.n_chunks > 1) {
    block.sync();
    if (thread == 0) {
      unsigned* const arrived = p.chunks.arrived + u.set;
      shared.last = false;
      if (u.n > 0 && u.n_chunks > 1)
        shared.last = atomic_add_acq_rel(arrived, 1u) == static_cast<unsigned>(u.n_chunks - 1);
      if (shared.last) store_relaxed(arrived, 0u);
    }
    block.sync();
    if (shared.last) weigh_chunks(thread, p, u, shared);
    block.sync();
    if (shared.last) merge_chunks(thread, p, u, shared);
  }
}

/// All units, by a grid of any size, each group with `shared` of its own: the last units are done by the last groups.
template <int kHeads>
__device__ __forceinline__ void split_all(const Group<kSplitThreads>& block, const AttentionDecodeParams& p,
                                          SplitShared<kHeads>& shared) {
  int longest = 0;
  for (int r = 0; r < p.n_rows; ++r) longest = max_of(longest, p.position[r] + 1);
  const int n_units = p.n_rows * p.n_kv_heads * sets_a_kv_head<kHeads>(p) * ((longest + kChunk - 1) / kChunk);
  const int groups =
      static_cast<int>(blockDim.x) / kSplitThreads;  // of the block: all of them stay while one has a unit
  const int group = block.rank % groups;
  for (int last = n_units - block.count + block.rank - group + groups - 1; last >= 0; last -= block.count) {
    const int unit = last - (groups - 1) + group;
    SplitUnit u = split_unit<kHeads>(p, max_of(unit, 0));
    if (unit < 0) u.n = 0;
    split(block, p, u, shared);
    block.sync();
  }
}

}  // namespace ops::attention_decode
