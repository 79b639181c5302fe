#pragma once
// y = A x by units of kRows rows, each done by one warp; the format says how a lane reads a piece of a row and what it
// sums into. Lanes take pieces in turn; a lane's sums are joined, then xor pairs of lanes: this order follows from the
// shape alone, whoever does the unit.
#include "kernels/formats.cuh"
#include "kernels/gemv.h"

namespace ops::gemv {

constexpr int kBlock = 256;
constexpr int kRows = 2;
constexpr int kSector = 32;             // bytes that come into L2 together
constexpr int kPrefetchBytes = 1 << 13;  // a warp

/// x in shared memory, a float4 of gap behind every eight: lanes read 32 to 128 bytes apart, and no two of those that
/// are served together meet in a bank.
struct PaddedX {
  float4* x;
  __device__ __forceinline__ float4& operator[](int i) const { return x[i + i / 8]; }
};
/// x where it lies, for rows too wide for shared memory.
struct GlobalX {
  const float4* __restrict__ x;
  __device__ __forceinline__ const float4& operator[](int i) const { return x[i]; }
};

struct Rows {
  formats::Row row[kRows];
};
/// Rows 2 unit and 2 unit + 1; behind the last row the last one, whose result is not kept.
template <class F>
__device__ __forceinline__ Rows rows_of(const Matrix& a, int unit) {
  Rows rows;
#pragma unroll
  for (int r = 0; r < kRows; ++r) rows.row[r] = formats::row_of<F>(a, min_of(kRows * unit + r, a.rows - 1));
  return rows;
}

/// What a lane has in flight: pieces that need no x, so that they can be on their way before x is there.
template <class F>
struct Ahead {
  typename F::Piece piece[F::kAhead][kRows];
};
template <class F>
__device__ __forceinline__ void load_slot(Ahead<F>& ahead, int slot, const Rows& rows, int i, int n_pieces) {
  if (i < n_pieces) {
#pragma unroll
    for (int r = 0; r < kRows; ++r) ahead.piece[slot][r] = F::load(rows.row[r], i);
  }
}
template <class F>
__device__ __forceinline__ Ahead<F> preload(const Group<32>& warp, const Rows& rows, int n_pieces) {
  Ahead<F> ahead{};
#pragma unroll
  for (int slot = 0; slot < F::kAhead; ++slot)
    load_slot(ahead, slot, rows, warp.thread + 32 * slot, n_pieces);
  return ahead;
}
/// What a warp reads after preload's pieces, into L2: more bytes on their way than registers can hold.
template <class F, class Product>
__device__ __forceinline__ void prefetch(const Group<32>& warp, const Product& product, int n_pieces) {
  constexpr FormatTraits format = kFormats[static_cast<int>(F::kFormat)];
  const int n_blocks = n_pieces * format.piece / format.block;
  int skip = 32 * F::kAhead * format.piece / format.block * format.value_bytes;
  int left = kPrefetchBytes;
  for (int unit = warp.rank; unit < product.n_units() && left > 0; unit += warp.count) {
    const Rows rows = product.template rows<F>(unit);
    const int end = min_of(n_blocks * format.value_bytes, skip + left / kRows);
    for (int at = skip + kSector * warp.thread; at < end; at += 32 * kSector) {
#pragma unroll
      for (int r = 0; r < kRows; ++r) prefetch_l2(rows.row[r].values + at);
    }
    if constexpr (format.scale_bytes != 0) {
      for (int at = kSector * warp.thread; at < n_blocks * format.scale_bytes; at += 32 * kSector) {
#pragma unroll
        for (int r = 0; r < kRows; ++r) prefetch_l2(rows.row[r].scales + at);
      }
    }
    left -= kRows * max_of(end - skip, 0);
    skip = 0;
  }
}

/// The products of a unit's rows with x, in every lane. A piece that has been used makes room for one further on, and at
/// the row's end for one of the unit that comes next: next(rows) makes the rows its own, and is false if there is none.
template <class F, class X, class Next>
__device__ __forceinline__ void run(const Group<32>& warp, Rows& rows, int n_pieces, const X& x,
                                    Ahead<F>& ahead, float (&totals)[kRows], Next next) {
  constexpr int kStep = 32 * F::kAhead;
  const int lane = warp.thread;
  typename F::Sum sums[kRows];
#pragma unroll
  for (int r = 0; r < kRows; ++r) sums[r] = {};
  for (int start = 0; start < n_pieces; start += kStep) {
    int first = start + kStep;
    if (first >= n_pieces) first = next(rows) ? 0 : n_pieces;
#pragma unroll
    for (int slot = 0; slot < F::kAhead; ++slot) {
      const int i = start + 32 * slot + lane;
      if (i < n_pieces) {
#pragma unroll
        for (int r = 0; r < kRows; ++r) F::multiply_add(sums[r], ahead.piece[slot][r], x, i);
      }
      load_slot(ahead, slot, rows, first + 32 * slot + lane, n_pieces);
    }
  }
#pragma unroll
  for (int r = 0; r < kRows; ++r) totals[r] = formats::join(sums[r]);
  warp_sums(totals);
}

/// What a kernel of one op waits for before the first read of x.
struct EarlierKernels {
  __device__ __forceinline__ void operator()() const { wait_for_earlier_kernels(); }
};

/// The units of a product, each warp every warp.count-th. A Product has n_units(), stride(), rows<F>(unit), prepare(x) and
/// put(x), which all threads of the block call to put the row to multiply with where x has it, behind a barrier when
/// that can be read, and store(unit, totals), which every lane calls. `wait` is called by all threads before anything but
/// weights is read, of which prepare reads what put needs; the first of these are on their way then.
template <class F, class Product, class X, class Wait = EarlierKernels>
__device__ __forceinline__ void walk(const Product& product, const X& x, const Wait& wait = {}) {
  const auto warp = Group<32>::mine();
  const int n_pieces = product.stride() / kFormats[static_cast<int>(F::kFormat)].piece;
  const int last = product.n_units() - 1;
  Rows rows = product.template rows<F>(min_of(warp.rank, last));
  Ahead<F> ahead = preload<F>(warp, rows, warp.rank <= last ? n_pieces : 0);
  prefetch<F>(warp, product, n_pieces);
  product.prepare(x);
  wait();
  product.put(x);
  for (int unit = warp.rank; unit <= last; unit += warp.count) {
    float totals[kRows];
    run<F>(warp, rows, n_pieces, x, ahead, totals, [&](Rows& of_next) {
      if (unit + warp.count > last) return false;
      of_next = product.template rows<F>(unit + warp.count);
      return true;
    });
    product.store(unit, totals);
  }
}

/// Puts x (stride) into shared memory: all threads of a block of kBlock.
__device__ __forceinline__ void copy_x(const PaddedX& to, const float* __restrict__ x, int stride) {
  const float4* const __restrict__ from = reinterpret_cast<const float4*>(x);
#pragma unroll 4
  for (int i = static_cast<int>(threadIdx.x); i < stride / 4; i += kBlock) to[i] = from[i];
  __syncthreads();
}

/// Kept by lane 0 of the rows that there are.
__device__ __forceinline__ void store_rows(const Matrix& a, int unit, const float (&totals)[kRows],
                                           float* y) {
#pragma unroll
  for (int r = 0; r < kRows; ++r) {
    const int row = kRows * unit + r;
    if (threadIdx.x % 32 == 0 && row < a.rows) y[row] = totals[r];
  }
}

__device__ __forceinline__ int n_units(const Matrix& a) { return (a.rows + kRows - 1) / kRows; }

struct Product {
  const GemvParams& p;
  __device__ __forceinline__ int n_units() const { return gemv::n_units(p.a); }
  __device__ __forceinline__ int stride() const { return p.a.stride; }
  template <class F>
  __device__ __forceinline__ Rows rows(int unit) const {
    return rows_of<F>(p.a, unit);
  }
  template <class X>
  __device__ __forceinline__ void prepare(const X&) const {}
  __device__ __forceinline__ void put(const PaddedX& x) const { copy_x(x, p.x, p.a.stride); }
  __device__ __forceinline__ void put(const GlobalX&) const {}
  __device__ __forceinline__ void store(int unit, const float (&totals)[kRows]) const {
    store_rows(p.a, unit, totals, p.y);
  }
};

template <class F>
__device__ __forceinline__ void shared(const GemvParams& p, float4* memory) {
  walk<F>(Product{p}, PaddedX{memory});
}

template <class F>
__device__ __forceinline__ void global(const GemvParams& p) {
  walk<F>(Product{p}, GlobalX{reinterpret_cast<const float4*>(p.x)});
}

}  // namespace ops::gemv
