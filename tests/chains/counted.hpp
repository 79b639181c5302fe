#pragma once
#include <algorithm>
#include <cstdint>

#include "kernels/simt/language.hpp"

/// The language of kernels on a number that counts roundings: kernels compiled with it (count.py) give, in the
/// place of each float, the longest chain of roundings that led to it.
namespace counted {

/// As large as a float, so that a kernel's buffers, vectors and shuffles take it. The bits of any number that
/// an input holds count none; a result holds its count, marked by a NaN that no input is.
class Counted {
 public:
  Counted() = default;
  constexpr Counted(float) : bits_(0) {}
  constexpr Counted(double) : bits_(0) {}
  constexpr Counted(int) : bits_(0) {}
  constexpr Counted(unsigned) : bits_(0) {}
  static constexpr Counted of(int count) {
    Counted x(0);
    x.bits_ = kMark | static_cast<unsigned>(count + 1);
    return x;
  }
  /// The count in a float's bits; none if they are not marked.
  static constexpr int count_of(unsigned bits) {
    return (bits & 0xffff0000u) == kMark ? static_cast<int>(bits & 0xffffu) - 1 : 0;
  }
  constexpr int count() const { return count_of(bits_); }
  /// In the place of a count: put together from bits.
  static constexpr int kFromBits = -1;

  /// One rounding behind the longest of the operands' chains.
  template <class... T>
  static constexpr Counted after(T... operands) {
    return of(std::max({operands.count()...}) + 1);
  }
  friend Counted operator+(Counted a, Counted b) { return after(a, b); }
  /// Taking the exponent off again that a number was given by its bits is exact.
  friend Counted operator-(Counted a, Counted b) {
    return a.count() == kFromBits ? of(b.count()) : after(a, b);
  }
  friend Counted operator*(Counted a, Counted b) { return after(a, b); }
  friend Counted operator/(Counted a, Counted b) { return after(a, b); }
  Counted operator-() const { return *this; }
  Counted& operator+=(Counted b) { return *this = after(*this, b); }
  Counted& operator-=(Counted b) { return *this = after(*this, b); }
  Counted& operator*=(Counted b) { return *this = after(*this, b); }

  // No value: what a comparison decides must not change the count.
  friend bool operator==(Counted a, Counted b) { return a.bits_ == b.bits_; }
  friend bool operator<(Counted, Counted) { return false; }
  friend bool operator>(Counted, Counted) { return false; }
  explicit operator int() const { return 0; }

 private:
  static constexpr unsigned kMark = 0x7fe50000;
  unsigned bits_;
};

struct alignas(8) float2 {
  Counted x, y;
};
struct alignas(16) float4 {
  Counted x, y, z, w;
};

inline Counted fmaf(Counted a, Counted b, Counted c) { return Counted::after(a, b, c); }
inline Counted sqrtf(Counted a) { return Counted::after(a); }
inline Counted rintf(Counted a) { return a; }

/// Those of 0. A block of x as 8-bit integers is zeros then, and its scale, which x is judged with, counts none.
inline unsigned float_to_bits(Counted) { return 0; }
inline Counted min_of(Counted a, Counted b) { return a.count() > b.count() ? a : b; }
inline Counted max_of(Counted a, Counted b) { return a.count() > b.count() ? a : b; }
inline Counted bits_to_float(unsigned) { return Counted::of(Counted::kFromBits); }
// An object, so that no function of the language's own is looked up beside it.
inline constexpr auto half_to_float = [](half) { return Counted(0); };
inline Counted low_half_to_float(unsigned) { return 0; }
inline Counted high_half_to_float(unsigned) { return 0; }
/// A half has no room for the mark: its bits are the count, a number smaller than the outputs of copies.
inline half float_to_half(Counted x) { return {static_cast<unsigned short>(x.count() + 1)}; }
inline constexpr double kHalfUnit = 0x1p-24;
inline constexpr int kLargestHalfCount = 255;

inline Counted shuffle(unsigned mask, Counted v, unsigned source) { return simt::exchange(mask, v, source); }
inline Counted shuffle_xor(unsigned mask, Counted v, unsigned lanes) {
  return simt::exchange(mask, v, threadIdx.x % 32 ^ lanes);
}
using ::shuffle;
using ::shuffle_xor;
template <int kSums>
void warp_sums(Counted (&v)[kSums], unsigned lanes = simt::kWarpSize) {
  for (Counted& each : v) {
    for (unsigned offset = lanes / 2; offset != 0; offset /= 2)
      each += shuffle_xor(simt::kFullMask, each, offset);
  }
}
inline Counted warp_sum(Counted v) {
  Counted sum[1] = {v};
  warp_sums(sum);
  return sum[0];
}
inline Counted warp_max(Counted v) {
  for (unsigned offset = 16; offset != 0; offset /= 2) {
    const Counted other = shuffle_xor(simt::kFullMask, v, offset);
    v = v.count() > other.count() ? v : other;
  }
  return v;
}

}  // namespace counted
