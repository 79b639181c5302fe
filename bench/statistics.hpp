#pragma once
#include <algorithm>
#include <cmath>
#include <vector>

namespace m40llm::bench {

/// Order statistics of samples, in the samples' unit.
struct Spread {
  double median = 0;
  double p25 = 0;
  double p75 = 0;
  double min = 0;
  double max = 0;
};

/// The value below which the fraction `p` of sorted, non-empty samples lies, interpolated between neighbours
/// (type 7 of Hyndman and Fan, 1996: what numpy and R give).
inline double quantile_of_sorted(const std::vector<double>& sorted, double p) {
  const double position = p * static_cast<double>(sorted.size() - 1);
  const auto below = static_cast<std::size_t>(std::floor(position));
  const std::size_t above = std::min(below + 1, sorted.size() - 1);
  return sorted[below] + (position - static_cast<double>(below)) * (sorted[above] - sorted[below]);
}

/// Of at least one sample; all zero of none.
inline Spread spread(std::vector<double> samples) {
  if (samples.empty()) return {};
  std::sort(samples.begin(), samples.end());
  return {quantile_of_sorted(samples, 0.5), quantile_of_sorted(samples, 0.25),
          quantile_of_sorted(samples, 0.75), samples.front(), samples.back()};
}

}  // namespace m40llm::bench
