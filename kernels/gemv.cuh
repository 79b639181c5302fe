#pragma once
// y = A x by units of kRows rows, each done by one warp; the format says how a lane reads a piece of a row and what it
// sums into. Lanes take pieces in turn; a lane's sums are joined, then xor pairs of lanes: this order follows from the
// shape alone, whoever does the unit.
#include "kernels/formats.cuh"
#include "kernels/gemv.h"

namespace ops::gemv {

constexpr int kBlock = 256;
constexpr int kRows = 2;

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

/// The products of a unit's rows with x, in every lane. A piece that has been used makes room for one further on, and at
/// the row's end for one of the unit that comes next, of which n_next are read: none if there is no such unit.
template <class F, class X>
__device__ __forceinline__ void run(const Group<32>& warp, const Rows& rows, const Rows& next_rows,
                                    int n_pieces, int n_next, const X& x, Ahead<F>& ahead,
                                    float (&totals)[kRows]) {
  constexpr int kStep = 32 * F::kAhead;
  const int lane = warp.thread;
  typename F::Sum sums[kRows];
#pragma unroll
  for (int r = 0; r < kRows; ++r) sums[r] = {};
  for (int start = 0; start < n_pieces; start += kStep) {
    const bool last = start + kStep >= n_pieces;
    Rows from;  // chosen pointer by pointer: a chosen struct would go to memory
#pragma unroll
    for (int r = 0; r < kRows; ++r) {
      from.row[r].values = last ? next_rows.row[r].values : rows.row[r].values;
      from.row[r].scales = last ? next_rows.row[r].scales : rows.row[r].scales;
    }
    const int first = last ? 0 : start + kStep;
#pragma unroll
    for (int slot = 0; slot < F::kAhead; ++slot) {
      const int i = start + 32 * slot + lane;
      if (i < n_pieces) {
#pragma unroll
        for (int r = 0; r < kRows; ++r) F::multiply_add(sums[r], ahead.piece[slot][r], x, i);
      }
      load_slot(ahead, slot, from, first + 32 * slot + lane, last ? n_next : n_pieces);
    }
  }
#pragma unroll
  for (int r = 0; r < kRows; ++r) totals[r] = formats::join(sums[r]);
  warp_sums(totals);
}

/// The units of a launch, each warp every warp.count-th: rows(unit) are its rows, fill() is called once by all threads of
/// the block and is behind a barrier when x can be read, store(unit, totals) is called by every lane.
template <class F, class X, class RowsOf, class Fill, class Store>
__device__ __forceinline__ void walk(int n_units, int stride, const X& x, RowsOf rows_of_unit, Fill fill,
                                     Store store) {
  const auto warp = Group<32>::mine();
  const int n_pieces = stride / kFormats[static_cast<int>(F::kFormat)].piece;
  const int last = n_units - 1;
  Rows rows = rows_of_unit(min_of(warp.rank, last));
  Ahead<F> ahead = preload<F>(warp, rows, warp.rank <= last ? n_pieces : 0);
  wait_for_earlier_kernels();
  fill();
  for (int unit = warp.rank; unit <= last; unit += warp.count) {
    const Rows next = rows_of_unit(min_of(unit + warp.count, last));
    float totals[kRows];
    run<F>(warp, rows, next, n_pieces, unit + warp.count <= last ? n_pieces : 0, x, ahead, totals);
    store(unit, totals);
    rows = next;
  }
}

/// Puts x (stride) into shared memory: all threads of a block of kBlock.
__device__ __forceinline__ void copy_x(const PaddedX& to, const float* __restrict__ x, int stride) {
  const float4* const __restrict__ from = reinterpret_cast<const float4*>(x);
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

template <class F>
__device__ __forceinline__ void shared(const GemvParams& p, float4* memory) {
  const PaddedX x{memory};
  walk<F>(
      n_units(p.a), p.a.stride, x, [&](int unit) { return rows_of<F>(p.a, unit); },
      [&] { copy_x(x, p.x, p.a.stride); },
      [&](int unit, const float(&totals)[kRows]) { store_rows(p.a, unit, totals, p.y); });
}

template <class F>
__device__ __forceinline__ void global(const GemvParams& p) {
  walk<F>(
      n_units(p.a), p.a.stride, GlobalX{reinterpret_cast<const float4*>(p.x)},
      [&](int unit) { return rows_of<F>(p.a, unit); }, [] {},
      [&](int unit, const float(&totals)[kRows]) { store_rows(p.a, unit, totals, p.y); });
}

}  // namespace ops::gemv
