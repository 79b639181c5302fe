#pragma once
#include <cstdint>
#include <cstring>
#include <functional>
#include <random>
#include <string>
#include <vector>

namespace m40llm::testing {

/// 2^n different strings of 16 n bytes for which libstdc++'s std::hash is one value. It is MurmurHash64A with a
/// fixed seed: after a word's mix, hash = (hash ^ mix(word)) * kMultiplier. Two words whose mixes differ in the
/// top bit alone leave hashes that differ in the top bit alone, and two such words in turn leave none.
inline std::vector<std::string> colliding_strings(unsigned n) {
  constexpr std::uint64_t kMultiplier = 0xc6a4a7935bd1e995u;
  constexpr auto shift = [](std::uint64_t v) { return v ^ v >> 47; };  // its own inverse
  constexpr auto inverse = [] {
    std::uint64_t x = kMultiplier;  // right in 3 bits; each of Newton's steps doubles them
    for (int i = 0; i < 5; ++i) x *= 2 - kMultiplier * x;
    return x;
  }();
  const auto mix = [&](std::uint64_t word) { return shift(word * kMultiplier) * kMultiplier; };
  const auto unmix = [&](std::uint64_t mixed) { return shift(mixed * inverse) * inverse; };
  const auto append = [](std::string& text, std::uint64_t word) {
    text.append(reinterpret_cast<const char*>(&word), sizeof word);
  };
  std::vector<std::string> strings{""};
  for (unsigned i = 0; i < n; ++i) {
    std::vector<std::string> longer;
    for (const std::string& text : strings) {
      for (const std::uint64_t flip : {std::uint64_t{0}, std::uint64_t{1} << 63}) {
        longer.push_back(text);
        for (const std::uint64_t word : {std::uint64_t{0x2020202020202020} + i, std::uint64_t{i}})
          append(longer.back(), unmix(mix(word) ^ flip));
      }
    }
    strings = std::move(longer);
  }
  return strings;
}

/// As many, as long, without such a pattern.
inline std::vector<std::string> other_strings(unsigned n) {
  std::mt19937 random(n);
  std::vector<std::string> strings(std::size_t{1} << n);
  for (std::string& text : strings) {
    while (text.size() < std::size_t{16} * n) text += static_cast<char>('a' + random() % 26);
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
