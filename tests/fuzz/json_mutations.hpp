#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <functional>
#include <random>
#include <string>
#include <vector>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "engine/error.hpp"
#include "tests/fuzz/memory_file.hpp"

/// JSON that is almost what its reader wants. The same inputs every time; M40LLM_FUZZ_INPUTS asks for more of
/// them, M40LLM_FUZZ_SEED for others.
namespace m40llm::fuzz {

class Mutator {
 public:
  explicit Mutator(std::uint64_t seed) : random_(seed) {}

  std::size_t below(std::size_t n) { return n == 0 ? 0 : random_() % n; }

  /// One value somewhere in the document replaced, removed or doubled.
  void change_value(nlohmann::json& json) {
    nlohmann::json* node = &json;
    while (node->is_structured() && !node->empty() && below(5) != 0) {
      auto child = std::next(node->begin(), static_cast<std::ptrdiff_t>(below(node->size())));
      if (below(20) == 0) {
        node->erase(child);
        return;
      }
      if (node->is_array() && below(20) == 0) {
        node->push_back(*child);
        return;
      }
      if (node->is_object() && below(40) == 0) {
        (*node)[hostile_text()] = *child;
        return;
      }
      node = &*child;
    }
    *node = hostile_value();
  }

  /// Some bytes changed, removed, doubled or put in.
  void change_bytes(std::string& text) {
    static constexpr std::array kPieces{"null",     "1e300",    "-1e999",
                                        "[[[[[[[[", "{\"a\":",  "}",
                                        "]",        ",",        "\"",
                                        "\\",       "\n",       "\\ud800",
                                        "\xff\xfe", "\x1b[31m", "18446744073709551616",
                                        "-0.0",     "NaN",      "\"kind\":\"header\",",
                                        "\r\n"};
    const std::size_t at = below(text.size());
    const std::size_t n = std::min(below(40), text.size() - at);
    switch (below(6)) {
      case 0:
        if (!text.empty()) text[at] = static_cast<char>(below(256));
        break;
      case 1:
        text.erase(at, n);
        break;
      case 2:
        text.insert(at, text.substr(at, n));
        break;
      case 3:
        text.insert(at, std::string(below(3000), "[{"[below(2)]));
        break;
      case 4:
        if (below(4) == 0) text.resize(at);
        break;
      default:
        text.insert(at, kPieces[below(kPieces.size())]);
    }
  }

 private:
  std::string hostile_text() {
    static const std::vector<std::string> kTexts{"",
                                                 "kind",
                                                 "\x1b[2J",
                                                 "<script>",
                                                 std::string(5000, 'a'),
                                                 "inf",
                                                 "0123456789abcdef",
                                                 "\xf0\x9f\x98\x80",
                                                 std::string(1, '\0'),
                                                 "header",
                                                 "decode",
                                                 "cuda"};
    return kTexts[below(kTexts.size())];
  }
  nlohmann::json hostile_value() {
    switch (below(9)) {
      case 0:
        return nullptr;
      case 1:
        return 1e300;
      case 2:
        return -1;
      case 3:
        return ~std::uint64_t{0};
      case 4:
        return std::int64_t{1} << 40;
      case 5:
        return nlohmann::json::array();
      case 6:
        return nlohmann::json::object();
      case 7:
        return below(2) == 0;
      default:
        return hostile_text();
    }
  }

  std::mt19937_64 random_;
};

/// What a reader may do with an input: take it, or throw an Error that names the file in one short printable
/// line.
inline void expect_read_or_refused(const std::string& path, const std::function<void()>& read,
                                   std::size_t& taken) {
  try {
    read();
    ++taken;
  } catch (const Error& error) {
    const std::string what = error.what();
    EXPECT_NE(what.find(path), std::string::npos) << what;
    EXPECT_LT(what.size(), 600U) << what;
    EXPECT_TRUE(std::ranges::all_of(what, [](char c) { return c >= ' ' && c <= '~'; })) << what;
  }  // anything else ends the test
}

}  // namespace m40llm::fuzz
