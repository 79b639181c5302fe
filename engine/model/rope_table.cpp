#include "engine/model/rope_table.hpp"

#include <cmath>
#include <string>

#include "engine/error.hpp"

namespace m40llm {
namespace {

constexpr int kMaxPosition = 1 << 22;

// pi / 2 as the sum of three doubles, each the rest of the one before rounded to nearest: 160 bits.
constexpr double kHalfPi[] = {0x1.921fb54442d18p+0, 0x1.1a62633145c07p-54, -0x1.f1976b7ed8fbcp-110};
constexpr double kTwoOverPi = 0x1.45f306dc9c883p-1;

// Coefficients of the Taylor series of sine and cosine from x^3 and x^4 on. At |x| <= pi / 4 the first term
// left out is below 2^-58 of the result.
constexpr double kSine[] = {-1.0 / 6,
                            1.0 / 120,
                            -1.0 / 5040,
                            1.0 / 362880,
                            -1.0 / 39916800.0,
                            1.0 / 6227020800.0,
                            -1.0 / 1307674368000.0,
                            1.0 / 355687428096000.0};
constexpr double kCosine[] = {1.0 / 24,          -1.0 / 720,           1.0 / 40320,           -1.0 / 3628800,
                              1.0 / 479001600.0, -1.0 / 87178291200.0, 1.0 / 20922789888000.0};

/// c[0] + c[1] x + ..., by Horner's rule.
template <std::size_t N>
double polynomial(const double (&c)[N], double x) {
  double sum = c[N - 1];
  for (std::size_t i = N - 1; i-- > 0;) sum = std::fma(sum, x, c[i]);
  return sum;
}

}  // namespace

RopeTable::DoubleDouble RopeTable::product(DoubleDouble a, DoubleDouble b) {
  // Dekker's product with fma for the exact error of a.high * b.high.
  const double high = a.high * b.high;
  const double low = std::fma(a.high, b.high, -high) + (a.high * b.low + a.low * b.high);
  const double sum = high + low;
  return {sum, low - (sum - high)};
}

RopeTable::DoubleDouble RopeTable::quotient(DoubleDouble a, double b) {
  // One step of long division: the remainder of the first quotient, exact by fma, is divided again.
  const double high = a.high / b;
  const double low = (std::fma(-high, b, a.high) + a.low) / b;
  const double sum = high + low;
  return {sum, low - (sum - high)};
}

RopeTable::DoubleDouble RopeTable::root_of_inverse(double base, int degree) {
  const auto power = [degree](DoubleDouble x) {
    DoubleDouble result{1, 0};
    for (int i = 0; i < degree; ++i) result = product(result, x);
    return result;
  };
  // Bisection to the neighbouring double, then Newton's steps on base x^degree = 1, each of which doubles the
  // digits.
  double below = 0;
  double above = 1;
  for (double middle = 0.5; below < middle && middle < above; middle = below + (above - below) / 2) {
    (base * power({middle, 0}).high <= 1 ? below : above) = middle;
  }
  DoubleDouble x{above, 0};
  for (int step = 0; step < 2; ++step) {
    const DoubleDouble y = product(power(x), {base, 0});
    const double excess = ((y.high - 1) + y.low) / degree;
    const double low = x.low - x.high * excess;
    const double sum = x.high + low;
    x = {sum, low - (sum - x.high)};
  }
  return x;
}

RopeTable::RopeTable(int n_rotated, double base, std::span<const float> factors) {
  if (n_rotated < 2 || n_rotated > 4096 || n_rotated % 2 != 0) {
    throw Error("rope: " + std::to_string(n_rotated) +
                " rotated dimensions; an even number in [2, 4096] is expected");
  }
  if (!(base >= 1) || !std::isfinite(base)) {
    throw Error("rope: frequency base " + std::to_string(base) +
                "; a finite number of at least 1 is expected");
  }
  const auto n_pairs = static_cast<std::size_t>(n_rotated / 2);
  if (!factors.empty() && factors.size() != n_pairs) {
    throw Error("rope: " + std::to_string(factors.size()) + " factors of frequencies; " +
                std::to_string(n_pairs) + " are expected");
  }
  for (std::size_t i = 0; i < factors.size(); ++i) {
    if (!(factors[i] > 0) || !std::isfinite(factors[i])) {
      throw Error("rope: factor " + std::to_string(i) + " of the frequencies is " +
                  std::to_string(factors[i]) + "; a finite number above 0 is expected");
    }
  }
  const DoubleDouble ratio = root_of_inverse(base, n_rotated / 2);
  DoubleDouble frequency{1, 0};
  for (std::size_t i = 0; i < n_pairs; ++i) {
    frequencies_.push_back(factors.empty() ? frequency
                                           : quotient(frequency, static_cast<double>(factors[i])));
    // Faster pairs would leave the range that cosine_sine() reduces exactly.
    if (frequencies_.back().high > 1) {
      throw Error("rope: factor " + std::to_string(i) + " of the frequencies is " +
                  std::to_string(factors[i]) +
                  "; one that turns no pair by more than 1 radian a position is expected");
    }
    frequency = product(frequency, ratio);
  }
}

float2 RopeTable::cosine_sine(DoubleDouble frequency, int position) {
  const DoubleDouble angle = product(frequency, {static_cast<double>(position), 0});
  // quarters < 2^22, so its product with each part of pi / 2 is exact as a pair. The subtraction of the
  // leading parts is exact by Sterbenz's lemma; what follows is kept as a pair because close to a multiple of
  // pi / 2 only it is left.
  const double quarters = std::floor(std::fma(angle.high, kTwoOverPi, 0.5));
  const double p0 = quarters * kHalfPi[0];
  const double p0_low = std::fma(quarters, kHalfPi[0], -p0);
  const double p1 = quarters * kHalfPi[1];
  const double p1_low = std::fma(quarters, kHalfPi[1], -p1);
  const double lead = angle.high - p0;
  double sum = lead;
  double rest = 0;
  for (const double term : {-p0_low, angle.low, -p1}) {  // Knuth's two-sum: its error goes to the rest
    const double next = sum + term;
    const double part = next - sum;
    rest += (sum - (next - part)) + (term - part);
    sum = next;
  }
  rest -= p1_low + quarters * kHalfPi[2];
  const double x = sum + rest;
  const double x_low = rest - (x - sum);

  const double square = x * x;
  const double sine_0 = std::fma(x * square, polynomial(kSine, square), x);
  const double cosine_0 = std::fma(square * square, polynomial(kCosine, square), std::fma(square, -0.5, 1.0));
  const double sine = std::fma(x_low, cosine_0, sine_0);
  const double cosine = std::fma(-x_low, sine_0, cosine_0);
  switch (static_cast<int>(quarters) % 4) {
    case 0:
      return {static_cast<float>(cosine), static_cast<float>(sine)};
    case 1:
      return {static_cast<float>(-sine), static_cast<float>(cosine)};
    case 2:
      return {static_cast<float>(-cosine), static_cast<float>(-sine)};
    default:
      return {static_cast<float>(sine), static_cast<float>(-cosine)};
  }
}

void RopeTable::append_row(int position, std::vector<float2>& table) const {
  for (const DoubleDouble& frequency : frequencies_) table.push_back(cosine_sine(frequency, position));
}

std::vector<float2> RopeTable::row(int position) const {
  if (position < 0 || position > kMaxPosition) {
    throw Error("rope: position " + std::to_string(position) + "; one in [0, " +
                std::to_string(kMaxPosition) + "] is expected");
  }
  std::vector<float2> table;
  append_row(position, table);
  return table;
}

std::vector<float2> RopeTable::rows(int n_positions) const {
  if (n_positions < 0 || n_positions > kMaxPosition + 1) {
    throw Error("rope: a table of " + std::to_string(n_positions) + " positions; one in [0, " +
                std::to_string(kMaxPosition + 1) + "] is expected");
  }
  std::vector<float2> table;
  table.reserve(static_cast<std::size_t>(n_positions) * frequencies_.size());
  for (int position = 0; position < n_positions; ++position) append_row(position, table);
  return table;
}

}  // namespace m40llm
