#pragma once
// The units of each op are those of its own kernel, so the bits are too; each block takes every gridDim.x-th of them, or
// each warp does. Between two ops stands a barrier of the grid where one needs what the other wrote, and it stands
// behind the first loads of the op's weights: they come while the block waits.
//
// What other blocks wrote is read by plain loads, never through the read-only cache, whose lines nothing refreshes. On
// sm_52 a plain load of global memory is served by L2, where all blocks' stores are. Later chips serve it from L1, which
// the fence behind the barrier's last look empties; __syncthreads passes that on to the block's other threads.
#include "kernels/advance.cuh"
#include "kernels/argmax.cuh"
#include "kernels/attention_decode.cuh"
#include "kernels/embedding.cuh"
#include "kernels/gate_up.cuh"
#include "kernels/gemv_add.cuh"
#include "kernels/norm_gemv.cuh"
#include "kernels/persistent_decode.h"
#include "kernels/qkv.cuh"
#include "kernels/swiglu.cuh"

namespace ops::persistent_decode {

constexpr int kBlock = kPersistentBlock;
constexpr int kWordsOfOp = sizeof(ResidentOp) / sizeof(uint4);
static_assert(kWordsOfOp <= 32, "a lane a word");

struct Shared {
  uint4 ops[2][kWordsOfOp];  // the op at work and the next one
  qkv::Shared row;
  unsigned awaited;  // what arrivals stand at when all blocks have come, and wrap around: the first thread's
  int gave_up;       // 1: it waited in vain; likewise
  int stood;         // 1: the block goes no further; set and read with a __syncthreads between

  __device__ __forceinline__ const ResidentOp& op(int i) const {
    return *reinterpret_cast<const ResidentOp*>(ops[i % 2]);
  }
};
static_assert(sizeof(Shared) <= kPersistentOwnBytes);
static_assert(sizeof(argmax::Shared) <= kPersistentArgmaxBytes);
static_assert(rms_norm::kBlock == kBlock);

/// Op i into its place, by the lanes of a warp.
__device__ __forceinline__ void fetch(const PersistentDecodeParams& p, int i, int lane, Shared& shared) {
  if (i < p.n_ops && lane < kWordsOfOp)
    shared.ops[i % 2][lane] = reinterpret_cast<const uint4*>(p.program + i)[lane];
}

/// Whether all blocks have come: arrivals may have wrapped around since.
__device__ __forceinline__ bool reached(unsigned arrived, unsigned awaited) {
  return static_cast<int>(arrived - awaited) >= 0;
}

/// A block gives up to wait; all that it did before counts for nothing.
__device__ __forceinline__ void stand(const PersistentDecodeParams& p, int op, Shared& shared) {
  shared.gave_up = 1;
  if (load_relaxed_system(p.stood) == 0) store_release_system(p.stood, static_cast<unsigned>(op) + 1);
}

/// Called once in every op, by all threads, before it reads what another op wrote.
struct Wait {
  const PersistentDecodeParams& p;
  Shared& shared;
  int op;

  __device__ __forceinline__ void operator()() const {
    const int thread = static_cast<int>(threadIdx.x);
    if (thread == 0 && shared.op(op).waits != 0) meet_grid();
    // Meanwhile the last warp, which has nothing else to do.
    if (thread >= kBlock - 32) fetch(p, op + 1, thread - (kBlock - 32), shared);
    __syncthreads();
  }

  __device__ __forceinline__ void meet_grid() const {
    const unsigned awaited = shared.awaited;
    if (!spin_at_most(p.looks, p.barrier, [awaited](unsigned arrived) { return reached(arrived, awaited); }))
      stand(p, op, shared);
  }
};

/// Behind the block's part of an op: what it wrote is there for those that wait, before the first loads of the next op are
/// on their way, for which a fence would wait.
__device__ __forceinline__ void done(const PersistentDecodeParams& p, int op, Shared& shared) {
  if (threadIdx.x == 0) shared.stood = shared.gave_up;
  __syncthreads();
  if (threadIdx.x == 0 && op + 1 < p.n_ops && shared.op(op + 1).waits != 0) {
    atomic_add_release(p.barrier, 1u);
    shared.awaited += gridDim.x;
  }
}
/// The last block to end leaves the barrier as it was.
__device__ __forceinline__ void leave(const PersistentDecodeParams& p) {
  if (threadIdx.x != 0 || atomic_add_acq_rel(p.barrier + 1, 1u) != gridDim.x - 1) return;
  store_relaxed(p.barrier, p.start);
  store_relaxed(p.barrier + 1, 0u);
}

/// The products with units of two rows as one: a walk for each of them and each format would be four times the code.
struct Product {
  static constexpr int kRows = 2;
  const ResidentOp& op;
  qkv::Shared& row;

  // clang-format off
#define M40LLM_PRODUCT(method)                                                                             \
  {                                                                                                        \
    if (op.kind == ResidentKind::qkv) return qkv::Product{op.params.qkv, row}.method;                      \
    if (op.kind == ResidentKind::gate_up) return gate_up::Product{op.params.gate_up, row.norm}.method;     \
    if (op.kind == ResidentKind::norm_gemv) return norm_gemv::Product{op.params.norm_gemv, row.norm}.method; \
    return gemv::Product{op.params.gemv}.method;                                                           \
  }
  __device__ __forceinline__ int n_units() const M40LLM_PRODUCT(n_units())
  __device__ __forceinline__ int stride() const M40LLM_PRODUCT(stride())
  template <class F>
  __device__ __forceinline__ gemv::Rows<kRows> rows(int unit) const M40LLM_PRODUCT(template rows<F>(unit))
  __device__ __forceinline__ gemv::Held prepare() const M40LLM_PRODUCT(prepare())
  template <class X>
  __device__ __forceinline__ void put(const X& x, const gemv::Held& held) const
      M40LLM_PRODUCT(put(x, held))
  __device__ __forceinline__ float2 beside(int unit) const M40LLM_PRODUCT(beside(unit))
  __device__ __forceinline__ void store(int unit, const float (&totals)[kRows], float2 beside) const
      M40LLM_PRODUCT(store(unit, totals, beside))
#undef M40LLM_PRODUCT
  // clang-format on
};

/// A format with half the pieces in flight, and so fewer registers: with x in global memory some spill otherwise. It still
/// leaves an SM twice the bytes in flight that an M40 needs.
template <class F>
struct HalfAhead : F {
  static constexpr int kAhead = F::kAhead / 2;
};

/// An op with weights of a format.
template <class F>
__device__ __forceinline__ void weighted(const ResidentOp& op, float4* memory, Shared& shared,
                                         const Wait& wait) {
  if (op.kind == ResidentKind::embedding) {
    const EmbeddingParams& p = op.params.embedding;
    wait();
    for (int i = thread_in_grid(); i < p.table.cols; i += static_cast<int>(gridDim.x) * kBlock)
      embedding::element<F>(p, i);
  } else if (op.kind == ResidentKind::gemv_add_global) {
    const GemvAddParams& p = op.params.gemv_add;
    gemv::walk<HalfAhead<F>>(gemv_add::Product{p}, gemv::GlobalX{reinterpret_cast<const float4*>(p.x)}, wait);
  } else if (op.kind == ResidentKind::gemv_add_shared) {
    gemv::walk<F>(gemv_add::Product{op.params.gemv_add}, gemv::PaddedX{memory}, wait);
  } else {
    gemv::walk<F>(Product{op, shared.row}, gemv::PaddedX{memory}, wait);
  }
}

/// Attention by units of kHeads heads, two groups a block.
template <int kHeads>
__device__ __forceinline__ void attention(const AttentionDecodeParams& p, float4* memory, const Wait& wait) {
  using GroupShared = attention_decode::SplitShared<kHeads>;
  constexpr int kGroups = kBlock / attention_decode::kSplitThreads;
  static_assert(kGroups * sizeof(GroupShared) <= kHeads * kPersistentAttentionBytes);
  wait();
  const int group = static_cast<int>(threadIdx.x) / attention_decode::kSplitThreads;
  attention_decode::split_all(Group<attention_decode::kSplitThreads>::mine(), p,
                              reinterpret_cast<GroupShared*>(memory)[group]);
}

/// The block's share of an op.
__device__ __forceinline__ void share(const ResidentOp& op, float4* memory, Shared& shared,
                                      const Wait& wait) {
  switch (op.kind) {
    case ResidentKind::embedding:
    case ResidentKind::qkv:
    case ResidentKind::gemv:
    case ResidentKind::gemv_add_shared:
    case ResidentKind::gemv_add_global:
    case ResidentKind::gate_up:
    case ResidentKind::norm_gemv:
      switch (op.format) {
#define M40LLM_CASE(format, ...)                                        \
  case Format::format:                                                  \
    weighted<formats::Reads<Format::format>>(op, memory, shared, wait); \
    return;
        M40LLM_FORMATS(M40LLM_CASE)
#undef M40LLM_CASE
      }
      return;
    case ResidentKind::rms_norm: {
      wait();
      const auto block = Group<kBlock>::mine();
      for (int row = block.rank; row < op.params.rms_norm.n_rows; row += block.count) {
        rms_norm::block_row<false>(block, op.params.rms_norm, row, shared.row.norm);
        block.sync();
      }
      return;
    }
    case ResidentKind::attention_split_1:
      attention<1>(op.params.attention_decode, memory, wait);
      return;
    case ResidentKind::attention_split_2:
      attention<2>(op.params.attention_decode, memory, wait);
      return;
    case ResidentKind::attention_split_3:
      attention<3>(op.params.attention_decode, memory, wait);
      return;
    case ResidentKind::attention_split_4:
      attention<4>(op.params.attention_decode, memory, wait);
      return;
    case ResidentKind::swiglu:
      wait();
      for (int i = thread_in_grid(); i < op.params.swiglu.n; i += static_cast<int>(gridDim.x) * kBlock)
        swiglu::element(op.params.swiglu, i);
      return;
    case ResidentKind::argmax_parts: {
      const ArgmaxParams& p = op.params.argmax;
      wait();
      const auto block = Group<kBlock>::mine();
      for (int part = block.rank; part < p.n_rows * p.n_parts; part += block.count) {
        argmax::part(block, p, part / p.n_parts, part % p.n_parts,
                     *reinterpret_cast<argmax::Shared*>(memory));
        block.sync();
      }
      return;
    }
    case ResidentKind::argmax_join: {
      const auto warp = Group<32>::mine();
      wait();
      if (warp.rank < op.params.argmax.n_rows) argmax::join(warp, op.params.argmax, warp.rank);
      return;
    }
    case ResidentKind::advance:
      wait();
      if (thread_in_grid() < op.params.advance.n_rows) advance::row(op.params.advance, thread_in_grid());
      return;
  }
}

/// Before the first step, by all threads.
__device__ __forceinline__ void begin(const PersistentDecodeParams& p, Shared& shared) {
  if (threadIdx.x != 0) return;
  shared.awaited = p.start;
  shared.gave_up = 0;
  shared.stood = 0;
}

/// Before each step, by the last warp, with a __syncthreads behind it.
__device__ __forceinline__ void fetch_first(const PersistentDecodeParams& p, Shared& shared) {
  if (threadIdx.x >= kBlock - 32) fetch(p, 0, static_cast<int>(threadIdx.x) - (kBlock - 32), shared);
}

__device__ __forceinline__ void run(const PersistentDecodeParams& p, float4* memory, Shared& shared) {
  begin(p, shared);
  fetch_first(p, shared);
  __syncthreads();
  for (int op = 0; op < p.n_ops && shared.stood == 0; ++op) {
    share(shared.op(op), memory, shared, Wait{p, shared, op});
    done(p, op, shared);
  }
  leave(p);
}

}  // namespace ops::persistent_decode
