#pragma once
#include <cmath>
#include <cstddef>
#include <limits>
#include <span>
#include <vector>

namespace m40llm::reference {

/// x (a multiple of 32) as products of integers take it: by blocks of 32 d q, d = max |x| / 127 and q the nearest integer
/// to x / d, ties to even, both in float: x times the float 1 / d. A block whose largest is below 2^-100 is zeros; one
/// with an infinity or NaN is NaN.
inline std::vector<double> rounded_to_int8(std::span<const float> x) {
  constexpr std::size_t kBlock = 32;
  std::vector<double> rounded;
  rounded.reserve(x.size());
  for (std::size_t first = 0; first < x.size(); first += kBlock) {
    const std::span<const float> block = x.subspan(first, kBlock);
    float largest = 0;
    bool finite = true;
    for (const float value : block) {
      largest = std::max(largest, std::abs(value));
      finite = finite && std::isfinite(value);
    }
    const float d = largest / 127.0f;
    const float inverse = 1.0f / d;
    for (const float value : block) {
      if (!finite) {
        rounded.push_back(std::numeric_limits<double>::quiet_NaN());
      } else if (largest < 0x1p-100f) {
        rounded.push_back(0);
      } else {
        rounded.push_back(static_cast<double>(d) * static_cast<double>(std::nearbyint(value * inverse)));
      }
    }
  }
  return rounded;
}

}  // namespace m40llm::reference
