#pragma once
// How kernels read weights: a trait for each format. What products need of one:
//   kFormat       its row in formats.h
//   kAhead        pieces of a row that a lane has in flight, each formats.h's `piece` weights: 16 bytes of values if it can
//   Sum           what a lane sums into, and join(sum): its total
//   load(row, i)  piece i of a row: weights alone, without x
//   multiply_add  sum += piece . x, where x[j] is its float4 j: a piece's weights need not stand in a row
// and what embedding needs: weight(matrix, i), the weight at index row * stride + column.
#include "kernels/device.cuh"
#include "kernels/matrix.h"

namespace formats {

/// Where a row's values and scales begin.
struct Row {
  const unsigned char* values;
  const unsigned char* scales;
};

template <class F>
__device__ __forceinline__ Row row_of(const Matrix& a, int row) {
  constexpr FormatTraits format = kFormats[static_cast<int>(F::kFormat)];
  const long long block = static_cast<long long>(row) * (a.stride / format.block);
  return {static_cast<const unsigned char*>(a.values) + block * format.value_bytes,
          reinterpret_cast<const unsigned char*>(a.scales) + block * format.scale_bytes};
}

/// Element i of an array of T at `bytes`, which nothing reads twice.
template <class T>
__device__ __forceinline__ T element(const unsigned char* bytes, long long i) {
  return load_once(reinterpret_cast<const T*>(bytes) + i);
}

__device__ __forceinline__ float join(float4 sum) { return (sum.x + sum.y) + (sum.z + sum.w); }
__device__ __forceinline__ float join(float sum) { return sum; }

/// What a trait has from its row in formats.h.
template <Format format>
struct Of {
  static constexpr Format kFormat = format;
  static constexpr int kAhead = kFormats[static_cast<int>(format)].ahead;
};

struct F32 : Of<Format::f32> {
  using Sum = float4;
  using Piece = float4;
  static __device__ __forceinline__ Piece load(const Row& row, int i) {
    return element<float4>(row.values, i);
  }
  template <class X>
  static __device__ __forceinline__ void multiply_add(float4& sum, const Piece& w, const X& x, int i) {
    const float4 v = x[i];
    sum.x = fmaf(w.x, v.x, sum.x);
    sum.y = fmaf(w.y, v.y, sum.y);
    sum.z = fmaf(w.z, v.z, sum.z);
    sum.w = fmaf(w.w, v.w, sum.w);
  }
  static __device__ __forceinline__ float weight(const Matrix& a, long long i) {
    return static_cast<const float*>(a.values)[i];
  }
};

/// sum += w . x for a load of eight weights, piece i of a row: weight j goes into sum j % 4.
template <class X>
__device__ __forceinline__ void multiply_add_eight(float4& sum, const Floats8& w, const X& x, int i) {
  const float4 x0 = x[2 * i];
  const float4 x1 = x[2 * i + 1];
  sum.x = fmaf(w.v[0], x0.x, sum.x);
  sum.y = fmaf(w.v[1], x0.y, sum.y);
  sum.z = fmaf(w.v[2], x0.z, sum.z);
  sum.w = fmaf(w.v[3], x0.w, sum.w);
  sum.x = fmaf(w.v[4], x1.x, sum.x);
  sum.y = fmaf(w.v[5], x1.y, sum.y);
  sum.z = fmaf(w.v[6], x1.z, sum.z);
  sum.w = fmaf(w.v[7], x1.w, sum.w);
}

struct F16 : Of<Format::f16> {
  using Sum = float4;
  using Piece = uint4;
  static __device__ __forceinline__ Piece load(const Row& row, int i) {
    return element<uint4>(row.values, i);
  }
  template <class X>
  static __device__ __forceinline__ void multiply_add(float4& sum, const Piece& packed, const X& x, int i) {
    multiply_add_eight(sum, halfs_to_floats(packed), x, i);
  }
  static __device__ __forceinline__ float weight(const Matrix& a, long long i) {
    return half_to_float(static_cast<const half*>(a.values)[i]);
  }
};

/// The upper half of a float's bits, the lower one 0: exact, and one operation on integers.
struct BF16 : Of<Format::bf16> {
  using Sum = float4;
  using Piece = uint4;
  static __device__ __forceinline__ Piece load(const Row& row, int i) {
    return element<uint4>(row.values, i);
  }
  /// Of the two in a word.
  static __device__ __forceinline__ float low(unsigned pair) { return bits_to_float(pair << 16); }
  static __device__ __forceinline__ float high(unsigned pair) { return bits_to_float(pair & 0xffff0000u); }
  template <class X>
  static __device__ __forceinline__ void multiply_add(float4& sum, const Piece& packed, const X& x, int i) {
    const Floats8 w = {{low(packed.x), high(packed.x), low(packed.y), high(packed.y), low(packed.z),
                        high(packed.z), low(packed.w), high(packed.w)}};
    multiply_add_eight(sum, w, x, i);
  }
  static __device__ __forceinline__ float weight(const Matrix& a, long long i) {
    return low(static_cast<const unsigned short*>(a.values)[i]);
  }
};

/// Byte i of a word as a float, less kOffset: by the exponent of 2^23 and a subtraction, exact, and twice the rate of a
/// conversion on Maxwell.
template <int kOffset>
__device__ __forceinline__ float byte(unsigned word, int i) {
  return bits_to_float(byte_in_mantissa(word, i)) - static_cast<float>(8388608 + kOffset);
}
/// The four low nibbles of a word, and the four high ones, a byte each.
__device__ __forceinline__ unsigned low_nibbles(unsigned word) { return word & 0x0f0f0f0fu; }
__device__ __forceinline__ unsigned high_nibbles(unsigned word) { return word >> 4 & 0x0f0f0f0fu; }

/// 16 weights, half a block. The integers are multiplied with x as they are and the block's scale is applied
/// once to their sum: one multiply-add a weight and one conversion.
struct Q8_0 : Of<Format::q8_0> {
  using Sum = float;
  struct Piece {
    uint4 q;
    unsigned d;
  };
  static __device__ __forceinline__ Piece load(const Row& row, int i) {
    return {element<uint4>(row.values, i), element<unsigned short>(row.scales, i / 2)};
  }
  template <class X>
  static __device__ __forceinline__ void multiply_add(float& sum, const Piece& piece, const X& x, int i) {
    const float q0 = dot_bytes(piece.q.x, x[4 * i]);
    const float q1 = dot_bytes(piece.q.y, x[4 * i + 1]);
    const float q2 = dot_bytes(piece.q.z, x[4 * i + 2]);
    const float q3 = dot_bytes(piece.q.w, x[4 * i + 3]);
    sum = fmaf(low_half_to_float(piece.d), (q0 + q1) + (q2 + q3), sum);
  }
  /// q . x over the four signed bytes in `bytes`, read as unsigned ones that are 128 larger.
  static __device__ __forceinline__ float dot_bytes(unsigned bytes, float4 x) {
    const unsigned q = bytes ^ 0x80808080u;
    float sum = byte<128>(q, 0) * x.x;
    sum = fmaf(byte<128>(q, 1), x.y, sum);
    sum = fmaf(byte<128>(q, 2), x.z, sum);
    return fmaf(byte<128>(q, 3), x.w, sum);
  }
  static __device__ __forceinline__ float weight(const Matrix& a, long long i) {
    return half_to_float(a.scales[i / 32]) * static_cast<float>(static_cast<const signed char*>(a.values)[i]);
  }
};

/// What an integer is scaled with: w = d q + m.
struct Scale {
  float d, m;
};

/// sum[j] += w[j] x_low[j] + v[j] x_high[j] for four weights w whose integers are the bytes of low_q, and four v with those
/// of high_q. A weight is one rounding, w = d q + m, and then one multiply-add.
__device__ __forceinline__ void multiply_add_bytes(float4& sum, unsigned low_q, unsigned high_q, Scale low,
                                                   Scale high, float4 x_low, float4 x_high) {
  sum.x = fmaf(fmaf(low.d, byte<0>(low_q, 0), low.m), x_low.x, sum.x);
  sum.y = fmaf(fmaf(low.d, byte<0>(low_q, 1), low.m), x_low.y, sum.y);
  sum.z = fmaf(fmaf(low.d, byte<0>(low_q, 2), low.m), x_low.z, sum.z);
  sum.w = fmaf(fmaf(low.d, byte<0>(low_q, 3), low.m), x_low.w, sum.w);
  sum.x = fmaf(fmaf(high.d, byte<0>(high_q, 0), high.m), x_high.x, sum.x);
  sum.y = fmaf(fmaf(high.d, byte<0>(high_q, 1), high.m), x_high.y, sum.y);
  sum.z = fmaf(fmaf(high.d, byte<0>(high_q, 2), high.m), x_high.z, sum.z);
  sum.w = fmaf(fmaf(high.d, byte<0>(high_q, 3), high.m), x_high.w, sum.w);
}
/// The same of the 8 nibbles in `word`, the low ones first.
__device__ __forceinline__ void multiply_add_nibbles(float4& sum, unsigned word, Scale low, Scale high,
                                                     float4 x_low, float4 x_high) {
  multiply_add_bytes(sum, low_nibbles(word), high_nibbles(word), low, high, x_low, x_high);
}

/// A piece is a block.
struct Q4_1 : Of<Format::q4_1> {
  using Sum = float4;
  struct Piece {
    uint4 q;
    unsigned scales;
  };
  static __device__ __forceinline__ Piece load(const Row& row, int i) {
    return {element<uint4>(row.values, i), element<unsigned>(row.scales, i)};
  }
  static __device__ __forceinline__ Scale scale(unsigned scales) {
    return {low_half_to_float(scales), high_half_to_float(scales)};
  }
  template <class X>
  static __device__ __forceinline__ void multiply_add(float4& sum, const Piece& piece, const X& x, int i) {
    const Scale s = scale(piece.scales);
    multiply_add_nibbles(sum, piece.q.x, s, s, x[8 * i], x[8 * i + 4]);
    multiply_add_nibbles(sum, piece.q.y, s, s, x[8 * i + 1], x[8 * i + 5]);
    multiply_add_nibbles(sum, piece.q.z, s, s, x[8 * i + 2], x[8 * i + 6]);
    multiply_add_nibbles(sum, piece.q.w, s, s, x[8 * i + 3], x[8 * i + 7]);
  }
  static __device__ __forceinline__ float weight(const Matrix& a, long long i) {
    const long long block = i / 32;
    const int in_block = static_cast<int>(i % 32);
    const unsigned byte = static_cast<const unsigned char*>(a.values)[block * 16 + in_block % 16];
    const unsigned q = in_block < 16 ? byte & 15 : byte >> 4;
    return fmaf(half_to_float(a.scales[2 * block]), static_cast<float>(q),
                half_to_float(a.scales[2 * block + 1]));
  }
};

/// A piece is a block with nibbles as of Q4_1; d is applied once to the sum of its 32 products, as of Q8_0.
struct Q4_0 : Of<Format::q4_0> {
  using Sum = float;
  struct Piece {
    uint4 q;
    unsigned d;
  };
  static __device__ __forceinline__ Piece load(const Row& row, int i) {
    return {element<uint4>(row.values, i), element<unsigned short>(row.scales, i)};
  }
  template <class X>
  static __device__ __forceinline__ void multiply_add(float& sum, const Piece& piece, const X& x, int i) {
    float4 dot = {0.f, 0.f, 0.f, 0.f};
    dot_nibbles(dot, piece.q.x, x[8 * i], x[8 * i + 4]);
    dot_nibbles(dot, piece.q.y, x[8 * i + 1], x[8 * i + 5]);
    dot_nibbles(dot, piece.q.z, x[8 * i + 2], x[8 * i + 6]);
    dot_nibbles(dot, piece.q.w, x[8 * i + 3], x[8 * i + 7]);
    sum = fmaf(low_half_to_float(piece.d), join(dot), sum);
  }
  /// sum[j] += (q[j] - 8) low[j] + (q[j + 4] - 8) high[j] for the 8 nibbles in `word`.
  static __device__ __forceinline__ void dot_nibbles(float4& sum, unsigned word, float4 low, float4 high) {
    const unsigned low_q = low_nibbles(word);
    const unsigned high_q = high_nibbles(word);
    sum.x = fmaf(byte<8>(low_q, 0), low.x, sum.x);
    sum.y = fmaf(byte<8>(low_q, 1), low.y, sum.y);
    sum.z = fmaf(byte<8>(low_q, 2), low.z, sum.z);
    sum.w = fmaf(byte<8>(low_q, 3), low.w, sum.w);
    sum.x = fmaf(byte<8>(high_q, 0), high.x, sum.x);
    sum.y = fmaf(byte<8>(high_q, 1), high.y, sum.y);
    sum.z = fmaf(byte<8>(high_q, 2), high.z, sum.z);
    sum.w = fmaf(byte<8>(high_q, 3), high.w, sum.w);
  }
  static __device__ __forceinline__ float weight(const Matrix& a, long long i) {
    const int place = static_cast<int>(i % 32);
    const int pair = static_cast<const unsigned char*>(a.values)[i / 32 * 16 + place % 16];
    return half_to_float(a.scales[i / 32]) * static_cast<float>((place < 16 ? pair & 15 : pair >> 4) - 8);
  }
};

/// Of a sub-block, integers below 64.
struct SubScale {
  int scale, minimum;
};

/// A block's scales, 16 bytes: half d and dmin, then 6 bits of scale and of minimum for each of 8 sub-blocks of
/// 32. Byte j of word y (scales) or z (minima) has sub-block j's in its lower six bits; its upper two belong to
/// sub-block j + 4, whose lower four are in byte j of word w, the scale's in the low nibble. A piece is 16
/// bytes of values: sixteen weights of a sub-block and sixteen of the next.
struct Q4_K : Of<Format::q4_k> {
  using Sum = float4;
  struct Piece {
    uint4 q, scales;
  };
  static __device__ __forceinline__ Piece load(const Row& row, int i) {
    return {element<uint4>(row.values, i), element<uint4>(row.scales, i / 8)};
  }
  static __device__ __forceinline__ SubScale sub_scale(uint4 block, int sub_block) {
    const int shift = sub_block % 4 * 8;
    const unsigned scales = block.y >> shift;
    const unsigned minima = block.z >> shift;
    const unsigned pairs = block.w >> shift;
    const bool first_four = sub_block < 4;
    const unsigned of_d = first_four ? scales & 63 : (pairs & 15) | (scales >> 2 & 48);
    const unsigned of_dmin = first_four ? minima & 63 : (pairs >> 4 & 15) | (minima >> 2 & 48);
    return {static_cast<int>(of_d), static_cast<int>(of_dmin)};
  }
  static __device__ __forceinline__ Scale scale(uint4 block, int sub_block) {
    const SubScale of = sub_scale(block, sub_block);
    return {low_half_to_float(block.x) * static_cast<float>(of.scale),
            -(high_half_to_float(block.x) * static_cast<float>(of.minimum))};
  }
  /// The two sub-blocks that piece i of a row is of, and where in x the first weight of the first stands.
  struct SubBlocks {
    Scale low, high;
    int first;
  };
  static __device__ __forceinline__ SubBlocks sub_blocks(uint4 block, int i) {
    const int group = i % 8 / 2;  // of two
    return {scale(block, 2 * group), scale(block, 2 * group + 1), 64 * (i / 8) + 16 * group + 4 * (i % 2)};
  }
  template <class X>
  static __device__ __forceinline__ void multiply_add(float4& sum, const Piece& piece, const X& x, int i) {
    const auto [low, high, first] = sub_blocks(piece.scales, i);
    multiply_add_nibbles(sum, piece.q.x, low, high, x[first], x[first + 8]);
    multiply_add_nibbles(sum, piece.q.y, low, high, x[first + 1], x[first + 9]);
    multiply_add_nibbles(sum, piece.q.z, low, high, x[first + 2], x[first + 10]);
    multiply_add_nibbles(sum, piece.q.w, low, high, x[first + 3], x[first + 11]);
  }
  static __device__ __forceinline__ float weight(const Matrix& a, long long i) {
    const long long block = i / 256;
    const int sub_block = static_cast<int>(i % 256) / 32;
    const unsigned pair =
        static_cast<const unsigned char*>(a.values)[block * 128 + sub_block / 2 * 32 + i % 32];
    const Scale s = scale(reinterpret_cast<const uint4*>(a.scales)[block], sub_block);
    return fmaf(s.d, static_cast<float>(sub_block % 2 == 0 ? pair & 15 : pair >> 4), s.m);
  }
};

/// Scales and nibbles are as Q4_K's, and byte j of the 32 in front of the nibbles has the fifth bit of weight j of each
/// sub-block, the first's lowest. A piece is 16 bytes of nibbles and the 16 bytes with their fifth bits: the eight lanes of a
/// block read all its sectors whole.
struct Q5_K : Of<Format::q5_k> {
  using Sum = float4;
  struct Piece {
    uint4 q, fifth, scales;
  };
  static __device__ __forceinline__ Piece load(const Row& row, int i) {
    const int block = 10 * (i / 8);
    return {element<uint4>(row.values, block + 2 + i % 8), element<uint4>(row.values, block + i % 2),
            element<uint4>(row.scales, i / 8)};
  }
  template <class X>
  static __device__ __forceinline__ void multiply_add(float4& sum, const Piece& piece, const X& x, int i) {
    const auto [low, high, first] = Q4_K::sub_blocks(piece.scales, i);
    const int shift = fifth_shift(i);
    multiply_add_five(sum, piece.q.x, piece.fifth.x >> shift, low, high, x[first], x[first + 8]);
    multiply_add_five(sum, piece.q.y, piece.fifth.y >> shift, low, high, x[first + 1], x[first + 9]);
    multiply_add_five(sum, piece.q.z, piece.fifth.z >> shift, low, high, x[first + 2], x[first + 10]);
    multiply_add_five(sum, piece.q.w, piece.fifth.w >> shift, low, high, x[first + 3], x[first + 11]);
  }
  /// Where the fifth bits of piece i stand in their bytes: the first sub-block's, and above it the next one's.
  static __device__ __forceinline__ int fifth_shift(int i) { return i % 8 / 2 * 2; }
  /// As of nibbles, with the fifth bits in the lowest two of each byte of `fifth`.
  static __device__ __forceinline__ void multiply_add_five(float4& sum, unsigned word, unsigned fifth,
                                                           Scale low, Scale high, float4 x_low,
                                                           float4 x_high) {
    multiply_add_bytes(sum, low_bytes(word, fifth), high_bytes(word, fifth), low, high, x_low, x_high);
  }
  static __device__ __forceinline__ unsigned low_bytes(unsigned word, unsigned fifth) {
    return low_nibbles(word) | (fifth << 4 & 0x10101010u);
  }
  static __device__ __forceinline__ unsigned high_bytes(unsigned word, unsigned fifth) {
    return high_nibbles(word) | (fifth << 3 & 0x10101010u);
  }
  static __device__ __forceinline__ float weight(const Matrix& a, long long i) {
    const long long block = i / 256;
    const int sub_block = static_cast<int>(i % 256) / 32;
    const unsigned char* const values = static_cast<const unsigned char*>(a.values) + block * 160;
    const unsigned nibble = values[32 + sub_block / 2 * 32 + i % 32] >> (sub_block % 2 * 4) & 15;
    const unsigned fifth = values[i % 32] >> sub_block & 1;
    const Scale s = Q4_K::scale(reinterpret_cast<const uint4*>(a.scales)[block], sub_block);
    return fmaf(s.d, static_cast<float>(nibble | fifth << 4), s.m);
  }
};

/// Half a block is 128 weights in four quarters of 32: byte j of its 64 lower ones has the lower four bits of weight
/// j of the first quarter and, in the high nibble, of the third, byte j + 32 those of the second and the fourth;
/// byte j of its 32 upper ones has the upper two bits of weight j of all four, the first quarter's lowest. A lane
/// takes 4 bytes of each and with them four weights of each quarter, whose scales differ.
struct Q6_K : Of<Format::q6_k> {
  using Sum = float4;
  struct Piece {
    unsigned low, low_32, high;
    float d;
    signed char scales[4];  // of the quarters
  };
  static __device__ __forceinline__ Piece load(const Row& row, int i) {
    const int block = i / 16;
    const int half_block = i % 16 / 8;
    const int word = i % 8;
    const int low = 48 * block + 16 * half_block + word;
    const int scale = 18 * block + 8 * half_block + word / 4;
    return {element<unsigned>(row.values, low),
            element<unsigned>(row.values, low + 8),
            element<unsigned>(row.values, 48 * block + 32 + 8 * half_block + word),
            low_half_to_float(element<unsigned short>(row.scales, 9 * block + 8)),
            {element<signed char>(row.scales, scale), element<signed char>(row.scales, scale + 2),
             element<signed char>(row.scales, scale + 4), element<signed char>(row.scales, scale + 6)}};
  }
  template <class X>
  static __device__ __forceinline__ void multiply_add(float4& sum, const Piece& piece, const X& x, int i) {
    const int first = 32 * (i / 8) + i % 8;
    const Quarters of = quarters(piece);
    sum.x = fmaf(piece.d * static_cast<float>(piece.scales[0]), dot(of.q[0], x[first]), sum.x);
    sum.y = fmaf(piece.d * static_cast<float>(piece.scales[1]), dot(of.q[1], x[first + 8]), sum.y);
    sum.z = fmaf(piece.d * static_cast<float>(piece.scales[2]), dot(of.q[2], x[first + 16]), sum.z);
    sum.w = fmaf(piece.d * static_cast<float>(piece.scales[3]), dot(of.q[3], x[first + 24]), sum.w);
  }
  /// Four weights of each quarter, a byte each, 32 larger than they are.
  struct Quarters {
    unsigned q[4];
  };
  static __device__ __forceinline__ Quarters quarters(const Piece& piece) {
    return {{(piece.low & 0x0f0f0f0f) | (piece.high << 4 & 0x30303030),
             (piece.low_32 & 0x0f0f0f0f) | (piece.high << 2 & 0x30303030),
             (piece.low >> 4 & 0x0f0f0f0f) | (piece.high & 0x30303030),
             (piece.low_32 >> 4 & 0x0f0f0f0f) | (piece.high >> 2 & 0x30303030)}};
  }
  /// (q - 32) . x over the four bytes in `bytes`, each below 64.
  static __device__ __forceinline__ float dot(unsigned bytes, float4 x) {
    float sum = byte<32>(bytes, 0) * x.x;
    sum = fmaf(byte<32>(bytes, 1), x.y, sum);
    sum = fmaf(byte<32>(bytes, 2), x.z, sum);
    return fmaf(byte<32>(bytes, 3), x.w, sum);
  }
  static __device__ __forceinline__ float weight(const Matrix& a, long long i) {
    const long long block = i / 256;
    const int place = static_cast<int>(i % 256);
    const int half_block = place / 128;
    const int quarter = place % 128 / 32;
    const unsigned char* const values = static_cast<const unsigned char*>(a.values) + block * 192;
    const unsigned low = values[64 * half_block + place % 64] >> (quarter / 2 * 4) & 15;
    const unsigned high = values[128 + 32 * half_block + place % 32] >> (quarter * 2) & 3;
    const half* const scales = a.scales + block * 9;
    const float scale = static_cast<float>(reinterpret_cast<const signed char*>(scales)[place / 16]);
    return half_to_float(scales[8]) * scale * static_cast<float>(static_cast<int>(low | high << 4) - 32);
  }
};

/// The trait of a format.
template <Format>
struct TraitOf;
template <>
struct TraitOf<Format::f32> {
  using Type = F32;
};
template <>
struct TraitOf<Format::f16> {
  using Type = F16;
};
template <>
struct TraitOf<Format::bf16> {
  using Type = BF16;
};
template <>
struct TraitOf<Format::q8_0> {
  using Type = Q8_0;
};
template <>
struct TraitOf<Format::q4_1> {
  using Type = Q4_1;
};
template <>
struct TraitOf<Format::q4_0> {
  using Type = Q4_0;
};
template <>
struct TraitOf<Format::q4_k> {
  using Type = Q4_K;
};
template <>
struct TraitOf<Format::q5_k> {
  using Type = Q5_K;
};
template <>
struct TraitOf<Format::q6_k> {
  using Type = Q6_K;
};
template <Format format>
using Reads = typename TraitOf<format>::Type;

}  // namespace formats
