#include "engine/printable.hpp"

#include <algorithm>
#include <cstddef>

#include "engine/tokenizer/utf8.hpp"

namespace m40llm {
namespace {

/// Controls of ASCII and Latin-1, line and paragraph separators, marks and overrides of direction, and
/// characters of no width (Unicode's Cc and the Cf and Zl that change what other text looks like).
bool is_shown(char32_t c) {
  const auto between = [c](char32_t first, char32_t last) { return c >= first && c <= last; };
  return !(c < 0x20 || between(0x7f, 0x9f) || c == 0xad || c == 0x61c || between(0x200b, 0x200f) ||
           between(0x2028, 0x202e) || between(0x2060, 0x206f) || c == 0xfeff || between(0xfff9, 0xfffb) ||
           between(0xe0000, 0xe0fff));
}

/// What cannot be shown as \xNN, and a backslash as `backslash`.
std::string shown(std::string_view text, std::string_view backslash) {
  constexpr std::string_view kHex = "0123456789abcdef";
  std::string out;
  while (!text.empty()) {
    const std::size_t length = utf8::sequence_length(text.substr(0, 4));
    const std::string_view character = text.substr(0, std::max<std::size_t>(length, 1));
    if (character == "\\") {
      out += backslash;
    } else if (length > 0 && is_shown(utf8::code_point(character))) {
      out += character;
    } else {
      for (const char c : character) {
        const auto byte = static_cast<unsigned char>(c);
        out += {'\\', 'x', kHex[byte >> 4], kHex[byte & 15]};
      }
    }
    text.remove_prefix(character.size());
  }
  return out;
}

}  // namespace

std::string printable(std::string_view text) { return shown(text, "\\\\"); }

std::string printable_message(std::string_view text) { return shown(text, "\\"); }

std::string in_quotes(std::string_view text) {
  constexpr std::size_t kMax = 80;
  if (text.size() <= kMax) return "'" + printable(text) + "'";
  std::size_t cut = kMax;  // not within a character
  while (cut > kMax - 4 && (static_cast<unsigned char>(text[cut]) & 0xc0u) == 0x80u) --cut;
  return "'" + printable(text.substr(0, cut)) + "...'";
}

}  // namespace m40llm
