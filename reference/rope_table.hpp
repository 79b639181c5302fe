#pragma once
#include <cmath>

namespace m40llm::reference {

struct CosineSine {
  long double cosine, sine;
};

/// Of the angle position * base^(-2 pair / n_rotated) / factor (Su et al., 2021; the factors that Llama 3.1 stretches
/// slow pairs by), by the C library in long double.
inline CosineSine rope_angle(int position, int pair, int n_rotated, double base, double factor = 1) {
  const long double exponent = -2.0L * pair / n_rotated;
  const long double angle = position * std::pow(static_cast<long double>(base), exponent) / factor;
  return {std::cos(angle), std::sin(angle)};
}

}  // namespace m40llm::reference
