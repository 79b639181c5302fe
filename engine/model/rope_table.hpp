#pragma once
#include <span>
#include <vector>

#include "kernels/types.h"

namespace m40llm {

/// Cosines and sines of rotary position embedding (Su et al., 2021) for the kernels that rotate by them. The
/// angle of pair i at position p is p * base^(-2 i / n_rotated) / factor i.
///
/// The values are the same bits on every system: they come from additions, multiplications, divisions and fma
/// in double and pairs of doubles alone, no libm (compile with contraction off). Each is within 0.501 ulp of
/// float of the true one, at every position up to 2^22.
class RopeTable {
 public:
  /// n_rotated: even, in [2, 4096]. base: finite, at least 1. factors: none, which is 1 for all, or one a pair,
  /// finite and above 0, that turns the pair by at most 1 radian a position. Throws Error on anything else.
  RopeTable(int n_rotated, double base, std::span<const float> factors = {});

  int n_pairs() const { return static_cast<int>(frequencies_.size()); }
  /// (n_pairs): cosine and sine at one position in [0, 2^22].
  std::vector<float2> row(int position) const;
  /// (n_positions, n_pairs): the rows of positions [0, n_positions).
  std::vector<float2> rows(int n_positions) const;

 private:
  /// The unevaluated sum high + low with |low| at most half an ulp of high: about 106 bits.
  struct DoubleDouble {
    double high, low;
  };
  static DoubleDouble product(DoubleDouble a, DoubleDouble b);
  static DoubleDouble quotient(DoubleDouble a, double b);
  static DoubleDouble root_of_inverse(double base, int degree);
  static float2 cosine_sine(DoubleDouble frequency, int position);
  void append_row(int position, std::vector<float2>& table) const;

  std::vector<DoubleDouble> frequencies_;
};

}  // namespace m40llm
