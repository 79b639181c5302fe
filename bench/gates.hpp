#pragma once
#include <cstdint>
#include <limits>
#include <span>
#include <vector>

#include "bench/suite.hpp"
#include "kernels/types.h"

/// How far an output may lie from the reference in float64: one bound for each element, derived for each op,
/// and the judge.
///
/// u = 2^-24 is the unit roundoff of float; d is the longest chain of roundings on the way to one output, as
/// the variant declares it. The factors of the statistical bounds come from simulations: an honest result
/// never came near them, planted faults (a dropped term, TF32 inputs, FP16 sums) lie beyond.
/// tests/bench/gates_test.cpp repeats that in small.
namespace m40llm::bench {

inline constexpr double kUnitRoundoff = 0x1p-24;

/// What an output is stored as.
enum class Stored { f32, f16 };

/// What the bounds of a product need to know of one output y = sum a_k x_k.
struct Product {
  double value = 0;        ///< sum a_k x_k
  double magnitude = 0;    ///< sum |A|_k |x_k|, |A| in the expanded form: |d q| + |m|
  double sum_squares = 0;  ///< sum (a_k x_k)^2
  int n_terms = 0;
  void add(double a, double expanded_magnitude_of_a, double x) {
    const double term = a * x;
    value += term;
    magnitude += expanded_magnitude_of_a * (x < 0 ? -x : x);
    sum_squares += term * term;
    ++n_terms;
  }
};

/// Gate R, for random centred inputs: u_out |y| + 4 sqrt(d) u sqrt(sum (a_k x_k)^2 + y^2) + K 2^-149.
double random_bound(const Product& product, int chain, Stored stored = Stored::f32);
/// Gate S, for inputs of any structure, the worst case: u_out |y| + gamma_d (|A| |x|) + K 2^-149, gamma_d = d
/// u / (1 - d u).
double structured_bound(const Product& product, int chain, Stored stored = Stored::f32);

/// One head's output and its bounds, by the first-order propagation of rounding errors through scores,
/// softmax and sum.
struct AttentionExpected {
  std::vector<double> y;      ///< (head_dim)
  std::vector<double> bound;  ///< (head_dim)
};
/// q (head_dim); k, v (n, head_dim) row by row. chain: D, the longest chain of roundings in the sum over
/// positions. The number of rescales of an online softmax is taken as D too: each of them is a rounding of
/// that chain.
AttentionExpected attention_expected(std::span<const float> q, std::span<const double> k,
                                     std::span<const double> v, float scale, int chain);

/// RMSNorm: (d / 2 + 5) u |y|, for |x| < 1.8e19: an error of the sum of squares counts half behind the root; for the
/// six roundings of d behind the sum that leaves 8 u.
double rms_norm_bound(double y, int chain);
/// SwiGLU: 8 u |y| + 2^-126 (1 + |up|).
double swiglu_bound(double y, double up);
/// RoPE: (|x0| + |x1|) 4 u, for both outputs of a pair.
double rope_bound(double x0, double x1);
/// The distance from |y| to the next float: what 1 ulp means.
double ulp(double y);

/// What the elements of an output must be.
template <class T>
struct Expected {
  std::vector<double> want;
  std::vector<double> bound;  ///< empty: equal to the bit, want rounded to T; a NaN for a NaN
};

/// The bit patterns that outputs are filled with before a launch. No kernel writes them: NaNs whose payload
/// no conversion or arithmetic produces from the suites' inputs, and an index that no suite reaches.
template <class T>
T poison();
template <>
float poison<float>();
template <>
half poison<half>();
template <>
int poison<int>();

/// Judges one output element by element and adds it to a verdict: the largest |got - want| / bound, infinite
/// for a NaN that is not wanted, for poison, and for any difference where the bound is zero. A wanted infinity
/// must be met with its sign, a wanted NaN (its bound is no NaN: it is meant) by a NaN: any in float, 0x7fff in
/// half. `passed` of the verdict stays true if all are within their bounds. got.size() ==
/// expected.want.size(). T: float, half, int.
template <class T>
void judge(std::span<const T> got, const Expected<T>& expected, Verdict& verdict);

/// The bound of a value that may be meant to be infinite or NaN: then 0, for there is nothing to be near to.
double bound_if_finite(double want, double bound);

/// The value as it is hashed: a NaN of float without its sign and payload, which differ between devices.
inline float hashed(float x) { return x == x ? x : std::numeric_limits<float>::quiet_NaN(); }
inline half hashed(half x) { return x; }
inline int hashed(int x) { return x; }

/// The verdict to start from: nothing judged, passed.
Verdict nothing_judged();
/// Marks the verdict as failed by a write outside the output, at an element behind it (n_outputs + index).
void fail_guard(Verdict& verdict, std::size_t index, double got);

/// XXH3-64 over the bits of any number of outputs, in the order they are added.
class OutputHash {
 public:
  OutputHash();
  ~OutputHash();
  OutputHash(const OutputHash&) = delete;
  OutputHash& operator=(const OutputHash&) = delete;
  void add(std::span<const std::byte> bytes);
  std::uint64_t value() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace m40llm::bench
