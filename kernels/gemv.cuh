#pragma once
// y = A x by units of one or two rows, each done by one warp; the format says how a lane reads a piece of a row and what it
// sums into. Lanes take pieces in turn; a lane's sums are joined, then xor pairs of lanes: this order follows from the
// shape alone, whoever does the unit.
#include "kernels/formats.cuh"
#include "kernels/formats_int8.cuh"
#include "kernels/gemv.h"

namespace ops::gemv {

// Where products have x, which a block's threads put there, four values of each quad i at a time: x.put(i, v, there), by
// whole warps, those behind the row's end with `there` false.

/// In shared memory, a float4 of gap behind every eight: lanes read 32 to 128 bytes apart, and no two of those that are
/// served together meet in a bank.
struct PaddedX {
  float4* x;
  __device__ __forceinline__ float4& operator[](int i) const { return x[i + i / 8]; }
  __device__ __forceinline__ void put(int i, float4 v, bool there) const {
    if (there) (*this)[i] = v;
  }
};
/// Where it lies, for rows too wide for shared memory.
struct GlobalX {
  const float4* __restrict__ x;
  __device__ __forceinline__ const float4& operator[](int i) const { return x[i]; }
};

template <int kRows>
struct Rows {
  formats::Row row[kRows];
};
/// Rows kRows unit and so on; behind the last row the last one, whose result is not kept.
template <class F, int kRows>
__device__ __forceinline__ Rows<kRows> rows_of(const Matrix& a, int unit) {
  Rows<kRows> rows;
#pragma unroll
  for (int r = 0; r < kRows; ++r) rows.row[r] = formats::row_of<F>(a, min_of(kRows * unit + r, a.rows - 1));
  return rows;
}

/// Pieces in flight of each row: of one row as many as of two together.
template <class F, int kRows>
constexpr int kSlotsOf = F::kAhead / kRows;
/// What a lane has in flight: pieces that need no x, so that they can be on their way before x is there.
template <class F, int kRows>
struct Ahead {
  typename F::Piece piece[kSlotsOf<F, kRows>][kRows];
};
template <class F, int kRows>
__device__ __forceinline__ void load_slot(Ahead<F, kRows>& ahead, int slot, const Rows<kRows>& rows, int i,
                                          int n_pieces) {
  if (i < n_pieces) {
#pragma unroll
    for (int r = 0; r < kRows; ++r) ahead.piece[slot][r] = F::load(rows.row[r], i);
  }
}
template <class F, int kRows>
__device__ __forceinline__ Ahead<F, kRows> preload(const Group<32>& warp, const Rows<kRows>& rows,
                                                   int n_pieces) {
  Ahead<F, kRows> ahead{};
#pragma unroll
  for (int slot = 0; slot < kSlotsOf<F, kRows>; ++slot)
    load_slot(ahead, slot, rows, warp.thread + 32 * slot, n_pieces);
  return ahead;
}
/// The products of a unit's rows with x, in every lane. A piece that has been used makes room for one further on, and at
/// the row's end for one of the unit that comes next: next(rows) makes the rows its own, and is false if there is none.
template <class F, int kRows, class X, class Next>
__device__ __forceinline__ void run(const Group<32>& warp, Rows<kRows>& rows, int n_pieces, const X& x,
                                    Ahead<F, kRows>& ahead, float (&totals)[kRows], Next next) {
  constexpr int kSlots = kSlotsOf<F, kRows>;
  constexpr int kStep = 32 * kSlots;
  const int lane = warp.thread;
  typename F::Sum sums[kRows];
#pragma unroll
  for (int r = 0; r < kRows; ++r) sums[r] = {};
  for (int start = 0; start < n_pieces; start += kStep) {
    int first = start + kStep;
    if (first >= n_pieces) first = next(rows) ? 0 : n_pieces;
#pragma unroll
    for (int slot = 0; slot < kSlots; ++slot) {
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

/// A thread's share of the weight of the norm before a product, in part: what it reads before it waits for x. Unused where
/// there is no norm.
struct Held {
  static constexpr int kQuads = 2;
  float4 weight[kQuads];
};

/// The units of a product. A Product has
///   kRows             of a unit
///   n_units(), stride(), rows<F>(unit)
///   prepare()         all threads: weights that put needs, held in registers
///   put(x, held)      all threads: the row to multiply with to where x has it, behind a barrier when that can be read
///   beside(unit)      what store needs besides the sums, so that it is on its way while they are made
///   store(unit, ..)   every lane
/// `wait` is called by all threads before anything but weights is read; the first of these are on their way then. Adjacent
/// units go to adjacent blocks: when there is not one for every warp, all SMs have as many.
template <class F, class Product, class X, class Wait = EarlierKernels>
__device__ __forceinline__ void walk(const Product& product, const X& x, const Wait& wait = {}) {
  constexpr int kRows = Product::kRows;
  const auto warp = Group<32>::mine();
  const int first = static_cast<int>(threadIdx.x / 32 * gridDim.x + blockIdx.x);
  const int n_pieces = product.stride() / kFormats[static_cast<int>(F::kFormat)].piece;
  const int last = product.n_units() - 1;
  const auto held = product.prepare();
  Rows<kRows> rows = product.template rows<F>(min_of(first, last));
  Ahead<F, kRows> ahead = preload<F>(warp, rows, first <= last ? n_pieces : 0);
  wait();
  product.put(x, held);
  for (int unit = first; unit <= last; unit += warp.count) {
    const float2 beside = product.beside(unit);
    float totals[kRows];
    run<F>(warp, rows, n_pieces, x, ahead, totals, [&](Rows<kRows>& of_next) {
      if (unit + warp.count > last) return false;
      of_next = product.template rows<F>(unit + warp.count);
      return true;
    });
    product.store(unit, totals, beside);
  }
}

/// Quads of a row that a thread has on their way at once.
constexpr int kQuadsAhead = 4;

/// Puts x (stride): all threads of a block.
template <class X>
__device__ __forceinline__ void copy_x(const X& to, const float* __restrict__ x, int stride) {
  const float4* const __restrict__ from = reinterpret_cast<const float4*>(x);
  const int n = stride / 4;
  const int step = static_cast<int>(blockDim.x);
  for (int first = static_cast<int>(threadIdx.x); first - static_cast<int>(threadIdx.x) < n;
       first += kQuadsAhead * step) {
    float4 v[kQuadsAhead];
#pragma unroll
    for (int j = 0; j < kQuadsAhead; ++j) {
      v[j] = {0.f, 0.f, 0.f, 0.f};
      if (first + j * step < n) v[j] = from[first + j * step];
    }
#pragma unroll
    for (int j = 0; j < kQuadsAhead; ++j) {
      const int i = first + j * step;
      if (i - static_cast<int>(threadIdx.x) % 32 < n) to.put(i, v[j], i < n);  // by whole warps
    }
  }
  __syncthreads();
}

/// Kept by lane 0 of the rows that there are.
template <int kRows>
__device__ __forceinline__ void store_rows(const Matrix& a, int unit, const float (&totals)[kRows],
                                           float* y) {
#pragma unroll
  for (int r = 0; r < kRows; ++r) {
    const int row = kRows * unit + r;
    if (threadIdx.x % 32 == 0 && row < a.rows) y[row] = totals[r];
  }
}

template <int kRows>
__device__ __forceinline__ int n_units(const Matrix& a) {
  return (a.rows + kRows - 1) / kRows;
}

struct Product {
  static constexpr int kRows = 2;
  const GemvParams& p;
  __device__ __forceinline__ int n_units() const { return gemv::n_units<kRows>(p.a); }
  __device__ __forceinline__ int stride() const { return p.a.stride; }
  template <class F>
  __device__ __forceinline__ Rows<kRows> rows(int unit) const {
    return rows_of<F, kRows>(p.a, unit);
  }
  __device__ __forceinline__ Held prepare() const { return {}; }
  template <class X>
  __device__ __forceinline__ void put(const X& x, const Held&) const {
    copy_x(x, p.x, p.a.stride);
  }
  __device__ __forceinline__ void put(const GlobalX&, const Held&) const {}
  __device__ __forceinline__ float2 beside(int) const { return {}; }
  __device__ __forceinline__ void store(int unit, const float (&totals)[kRows], float2) const {
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

template <class F>
__device__ __forceinline__ void integers(const GemvParams& p, float4* memory) {
  walk<formats::Int8<F>>(Product{p}, int8::row_in(memory, p.a.stride));
}

}  // namespace ops::gemv
