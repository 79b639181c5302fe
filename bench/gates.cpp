#include "bench/gates.hpp"

#define XXH_INLINE_ALL
#include <xxhash.h>

#include <bit>
#include <cmath>
#include <limits>
#include <stdexcept>

#include "reference/half.hpp"
#include "reference/ops.hpp"

namespace m40llm::bench {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();
constexpr double kSmallestFloat = 0x1p-149;

/// What storing adds: half an ulp, relative for normal numbers and absolute for denormal ones.
double stored_bound(double y, Stored stored) {
  return stored == Stored::f16 ? 0x1p-11 * std::fabs(y) + 0x1p-25 : 0.0;
}

// For each type of output: its value as a double, its bits, and the bits that a wanted value must have.
double to_double(float x) { return x; }
double to_double(half x) { return reference::half_to_double(x.bits); }
double to_double(int x) { return x; }
std::uint32_t bits_of(float x) { return std::bit_cast<std::uint32_t>(x); }
std::uint32_t bits_of(half x) { return x.bits; }
std::uint32_t bits_of(int x) { return static_cast<std::uint32_t>(x); }
template <class T>
std::uint32_t wanted_bits(double want) {
  if constexpr (std::is_same_v<T, half>) {
    return reference::double_to_half(want);
  } else {
    return bits_of(static_cast<T>(want));
  }
}

/// In half the one that conversions give.
bool is_a_nan(float x) { return std::isnan(x); }
bool is_a_nan(half x) { return x.bits == 0x7fff; }

/// |got - want| / bound with the cases that are no number.
double error_over(double got, double want, double bound) {
  if (std::isnan(bound) || std::isnan(got) != std::isnan(want)) return kInfinity;
  if (std::isnan(want)) return 0;
  if (got == want) return 0;  // infinities too
  const double error = std::fabs(got - want);
  return bound > 0 && std::isfinite(error) ? error / bound : kInfinity;
}

/// 0 if got has the bits of want, both being NaN counting as that; else infinity.
template <class T>
double exact_error(T got, double want) {
  if constexpr (!std::is_same_v<T, int>) {
    if (std::isnan(want)) return is_a_nan(got) ? 0 : kInfinity;
  }
  return bits_of(got) == wanted_bits<T>(want) ? 0 : kInfinity;
}

}  // namespace

double random_bound(const Product& p, int chain, Stored stored) {
  return stored_bound(p.value, stored) +
         4 * std::sqrt(chain) * kUnitRoundoff * std::sqrt(p.sum_squares + p.value * p.value) +
         p.n_terms * kSmallestFloat;
}

double structured_bound(const Product& p, int chain, Stored stored) {
  const double du = chain * kUnitRoundoff;
  return stored_bound(p.value, stored) + du / (1 - du) * p.magnitude + p.n_terms * kSmallestFloat;
}

AttentionExpected attention_expected(std::span<const float> q, std::span<const double> k,
                                     std::span<const double> v, float scale, int chain) {
  using Rows = reference::Matrix<double>;
  using Column = reference::Vector<double>;
  const auto head_dim = static_cast<Eigen::Index>(q.size());
  const auto n = static_cast<Eigen::Index>(k.size()) / head_dim;
  const Column query = Eigen::Map<const reference::Vector<float>>(q.data(), head_dim).cast<double>();
  const Rows keys = Eigen::Map<const Rows>(k.data(), n, head_dim);
  const Rows values = Eigen::Map<const Rows>(v.data(), n, head_dim);
  const auto head = reference::attend<double>(query, keys, values, scale);

  const double u = kUnitRoundoff;
  const double maximum = head.scores.maxCoeff();
  // What exp(s_j - m) is off by, relatively: the error of the dot product and the roundings of s_j and s_j -
  // m.
  Column delta(n);
  for (Eigen::Index j = 0; j < n; ++j) {
    if (head.scores(j) == -kInfinity) {  // exp of it is 0, without an error
      delta(j) = 0;
      continue;
    }
    const double dot_norm = keys.row(j).transpose().cwiseProduct(query).norm() * scale;
    delta(j) = u * (std::sqrt(static_cast<double>(head_dim)) * dot_norm + std::fabs(head.scores(j)) +
                    std::fabs(head.scores(j) - maximum) + 3);
  }
  AttentionExpected expected;
  for (Eigen::Index i = 0; i < head_dim; ++i) {
    const double y = head.y(i);
    const Column by_scores =
        head.probabilities.cwiseProduct(delta).cwiseProduct((values.col(i).array() - y).matrix());
    const double terms = head.probabilities.cwiseProduct(values.col(i)).squaredNorm();
    const double by_sum = u * std::sqrt(chain) * (std::sqrt(terms + y * y) + std::fabs(y));
    const double by_rescales = 3 * u * std::sqrt(chain) * std::fabs(y);
    expected.y.push_back(y);
    expected.bound.push_back(6 * (by_scores.norm() + by_sum + by_rescales));
  }
  return expected;
}

double bound_if_finite(double want, double bound) { return std::isfinite(want) ? bound : 0; }

double rms_norm_bound(double y, int chain) { return (chain / 2.0 + 5) * kUnitRoundoff * std::fabs(y); }

double swiglu_bound(double y, double up) {
  return 8 * kUnitRoundoff * std::fabs(y) + 0x1p-126 * (1 + std::fabs(up));
}

double rope_bound(double x0, double x1) { return (std::fabs(x0) + std::fabs(x1)) * 4 * kUnitRoundoff; }

double ulp(double y) {
  const auto magnitude = static_cast<float>(std::fabs(y));
  return static_cast<double>(std::nextafter(magnitude, std::numeric_limits<float>::infinity())) - magnitude;
}

template <>
float poison<float>() {
  return std::bit_cast<float>(0x7fc0deadU);
}
template <>
half poison<half>() {
  return {0xfdea};
}
template <>
int poison<int>() {
  return 0x7fc0dead;
}

template <class T>
void judge(std::span<const T> got, const Expected<T>& expected, Verdict& verdict) {
  const bool exact = expected.bound.empty();
  if (got.size() != expected.want.size() || (!exact && got.size() != expected.bound.size())) {
    throw std::invalid_argument("judge: output and expectation differ in length");
  }
  for (std::size_t i = 0; i < got.size(); ++i) {
    const double want = expected.want[i];
    const double bound = exact ? 0 : expected.bound[i];
    double error = exact ? exact_error(got[i], want) : error_over(to_double(got[i]), want, bound);
    if (bits_of(got[i]) == bits_of(poison<T>())) error = kInfinity;
    if (error > verdict.error_over_bound || verdict.n_outputs + i == 0) {
      verdict.error_over_bound = error;
      verdict.worst = verdict.n_outputs + i;
      verdict.got = to_double(got[i]);
      verdict.want = want;
      verdict.bound = bound;
    }
    if (!(error <= 1)) verdict.passed = false;
  }
  verdict.n_outputs += got.size();
}

template void judge<float>(std::span<const float>, const Expected<float>&, Verdict&);
template void judge<half>(std::span<const half>, const Expected<half>&, Verdict&);
template void judge<int>(std::span<const int>, const Expected<int>&, Verdict&);

Verdict nothing_judged() {
  Verdict verdict;
  verdict.passed = true;
  return verdict;
}

void fail_guard(Verdict& verdict, std::size_t index, double got) {
  if (verdict.error_over_bound < kInfinity) {
    verdict.worst = verdict.n_outputs + index;
    verdict.got = got;
    verdict.want = std::numeric_limits<double>::quiet_NaN();
    verdict.bound = 0;
  }
  verdict.passed = false;
  verdict.error_over_bound = kInfinity;
}

struct OutputHash::State {
  XXH3_state_t* xxh3 = XXH3_createState();
  State() { XXH3_64bits_reset(xxh3); }
  State(const State&) = delete;
  State& operator=(const State&) = delete;
  ~State() { XXH3_freeState(xxh3); }
};

OutputHash::OutputHash() : state_(std::make_unique<State>()) {}
OutputHash::~OutputHash() = default;
void OutputHash::add(std::span<const std::byte> bytes) {
  XXH3_64bits_update(state_->xxh3, bytes.data(), bytes.size());
}
std::uint64_t OutputHash::value() const { return XXH3_64bits_digest(state_->xxh3); }

}  // namespace m40llm::bench
