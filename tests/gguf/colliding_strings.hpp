#pragma once
#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <random>
#include <string>
#include <vector>

namespace m40llm::testing {

/// n different strings of 16 bytes for which libstdc++'s std::hash is one value. It is MurmurHash64A with a fixed
/// seed, hash = (hash ^ mix(word)) * kMultiplier for each word of 8 bytes: whatever the first word makes of it, a
/// second one brings it back to one value.
inline std::vector<std::string> colliding_strings(std::size_t n) {
  constexpr std::uint64_t kMultiplier = 0xc6a4a7935bd1e995u, kSeed = 0xc70f6907u, kBytes = 16;
  constexpr auto shift = [](std::uint64_t v) { return v ^ v >> 47; };  // its own inverse
  constexpr auto inverse = [] {
    std::uint64_t x = kMultiplier;  // right in 3 bits; each of Newton's steps doubles them
    for (int i = 0; i < 5; ++i) x *= 2 - kMultiplier * x;
    return x;
  }();
  const auto mix = [&](std::uint64_t word) { return shift(word * kMultiplier) * kMultiplier; };
  const auto unmix = [&](std::uint64_t mixed) { return shift(mixed * inverse) * inverse; };
  std::vector<std::string> strings;
  for (std::uint64_t i = 0; i < n; ++i) {
    const std::uint64_t hash = ((kSeed ^ kBytes * kMultiplier) ^ mix(i)) * kMultiplier;
    const std::array<std::uint64_t, 2> words{i, unmix(hash)};  // hash ^ mix(second) is 0
    strings.emplace_back(reinterpret_cast<const char*>(words.data()), kBytes);
  }
  return strings;
}

/// As many, as long, without such a pattern.
inline std::vector<std::string> other_strings(std::size_t n) {
  std::mt19937 random(1);
  std::vector<std::string> strings(n);
  for (std::string& text : strings) {
    while (text.size() < 16) text += static_cast<char>('a' + random() % 26);
  }
  return strings;
}

/// Whether strings have one value under the standard library's hash: where not, they show nothing.
inline bool collide(const std::vector<std::string>& strings) {
  for (const std::string& text : strings) {
    if (std::hash<std::string>()(text) != std::hash<std::string>()(strings.front())) return false;
  }
  return true;
}

}  // namespace m40llm::testing
