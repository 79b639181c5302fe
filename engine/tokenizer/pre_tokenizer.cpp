#include "engine/tokenizer/pre_tokenizer.hpp"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <limits>
#include <new>
#include <stdexcept>
#include <utility>

#include "engine/error.hpp"
#include "engine/printable.hpp"
#include "engine/tokenizer/utf8.hpp"

namespace m40llm {
namespace {

// White space by Unicode's White_Space property. PCRE2's own \s also takes U+180E, which left that property
// in Unicode 6.3 and which the programs that trained these vocabularies do not count.
#define WS R"(\t-\r\x20\x{85}\x{a0}\x{1680}\x{2000}-\x{200a}\x{2028}\x{2029}\x{202f}\x{205f}\x{3000})"

constexpr std::string_view kDigit = R"(\p{N})";
constexpr std::string_view kDigits = R"(\p{N}+)";
constexpr std::string_view kThreeDigits = "[0-9][0-9][0-9]";
constexpr std::string_view kPunctuation = R"([\p{P}$+<=>^~|]+)";
// English contractions, words, numbers and the rest, each with at most one space before it; of a run of white
// space all but the last, which goes with what follows.
constexpr std::string_view kGpt2 = R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+)"
                                   "| ?[^" WS R"(\p{L}\p{N}]+)"
                                   "|[" WS "]+(?![^" WS "])|[" WS "]+";
// GPT-2's with contractions in either case, any one char before a word and line ends apart; `digits` is a number.
#define LLAMA3(digits)                                                                                   \
  R"('[sS]|'[tT]|'[rR][eE]|'[vV][eE]|'[mM]|'[lL][lL]|'[dD]|[^\r\n\p{L}\p{N}]?\p{L}+|)" digits "| ?[^" WS \
  R"(\p{L}\p{N}]+[\r\n]*)"                                                                               \
  "|[" WS R"(]*[\r\n]+)"                                                                                 \
  "|[" WS "]+(?![^" WS "])|[" WS "]+"
constexpr std::string_view kLlama3 = LLAMA3(R"(\p{N}{1,3})");
constexpr std::string_view kQwen2 = LLAMA3(R"(\p{N})");

#undef LLAMA3
#undef WS

struct Rule {
  std::string_view name;
  std::array<std::string_view, 4> patterns;  // in order; unused ones are empty
  bool ignores_merges;
  bool adds_bos;
};

// What each name stands for: src/llama-vocab.cpp of llama.cpp, whose converter writes the names into the
// files.
constexpr std::array kRules{
    Rule{"default", {kPunctuation, kGpt2, kDigits, kThreeDigits}, false, false},
    Rule{"gpt-2", {kGpt2}, false, false},
    Rule{"llama-bpe", {kLlama3}, true, true},
    Rule{"qwen2", {kQwen2}, false, false},
    Rule{"smollm", {kDigit, kGpt2}, false, false},
};

/// Other names of these rules, from the same place.
struct Alias {
  std::string_view name, rule;
};
constexpr std::array kAliases{
    Alias{"a.x-4.0", "gpt-2"},      Alias{"codeshell", "smollm"},  Alias{"command-r", "smollm"},
    Alias{"exaone", "smollm"},      Alias{"exaone4", "gpt-2"},     Alias{"falcon-h1", "llama-bpe"},
    Alias{"falcon3", "llama-bpe"},  Alias{"gigachat", "gpt-2"},    Alias{"granite-docling", "gpt-2"},
    Alias{"jais", "gpt-2"},         Alias{"lfm2", "llama-bpe"},    Alias{"llama-v3", "llama-bpe"},
    Alias{"llama3", "llama-bpe"},   Alias{"mellum", "gpt-2"},      Alias{"mellum2", "smollm"},
    Alias{"midm-2.0", "llama-bpe"}, Alias{"minerva-7b", "smollm"}, Alias{"mpt", "gpt-2"},
    Alias{"olmo", "gpt-2"},         Alias{"phi-2", "gpt-2"},       Alias{"pixtral", "llama-bpe"},
    Alias{"refact", "smollm"},      Alias{"starcoder", "smollm"},  Alias{"trillion", "gpt-2"},
};

/// Null if there is none of this name.
const Rule* find_rule(std::string_view name) {
  for (const Alias& alias : kAliases) {
    if (alias.name == name) name = alias.rule;
  }
  const auto it = std::find_if(kRules.begin(), kRules.end(), [&](const Rule& r) { return r.name == name; });
  return it == kRules.end() ? nullptr : &*it;
}

std::string message(int error) {
  std::array<PCRE2_UCHAR, 256> text{};
  pcre2_get_error_message(error, text.data(), text.size());
  return reinterpret_cast<const char*>(text.data());
}

struct FreeMatch {
  void operator()(pcre2_match_data* match) const { pcre2_match_data_free(match); }
  void operator()(pcre2_match_context* context) const { pcre2_match_context_free(context); }
};

/// Appends the pieces of one piece of well-formed text.
void split_piece(const pcre2_code* code, std::string_view text, pcre2_match_data* match,
                 pcre2_match_context* context, std::vector<std::string_view>& pieces) {
  std::size_t done = 0;
  while (done < text.size()) {
    // The text is known to be UTF-8: checking it again for every match would be quadratic.
    const int found = pcre2_match(code, reinterpret_cast<PCRE2_SPTR>(text.data()), text.size(), done,
                                  PCRE2_NO_UTF_CHECK, match, context);
    if (found == PCRE2_ERROR_NOMATCH) break;
    if (found < 0)
      throw Error("text of " + std::to_string(text.size()) + " bytes cannot be split: " + message(found));
    const std::size_t* bounds = pcre2_get_ovector_pointer(match);
    if (bounds[0] > done) pieces.push_back(text.substr(done, bounds[0] - done));
    pieces.push_back(text.substr(bounds[0], bounds[1] - bounds[0]));  // no pattern matches nothing
    done = bounds[1];
  }
  if (done < text.size()) pieces.push_back(text.substr(done));
}

/// Bytes at the start of text that are well-formed, or, if `well_formed` is false, that are not.
std::size_t run_length(std::string_view text, bool well_formed) {
  std::size_t length = 0;
  while (length < text.size()) {
    const std::size_t sequence = utf8::sequence_length(text.substr(length, 4));
    if ((sequence > 0) != well_formed) break;
    length += well_formed ? sequence : 1;
  }
  return length;
}

}  // namespace

void PreTokenizer::FreeCode::operator()(pcre2_real_code_8* code) const { pcre2_code_free(code); }

PreTokenizer::Code PreTokenizer::compile(const std::string& pattern) {
  int error = 0;
  std::size_t offset = 0;
  Code code(pcre2_compile(reinterpret_cast<PCRE2_SPTR>(pattern.data()), pattern.size(), PCRE2_UTF, &error,
                          &offset, nullptr));
  if (!code)
    throw std::logic_error("pattern " + pattern + " at " + std::to_string(offset) + ": " + message(error));
  return code;
}

PreTokenizer PreTokenizer::named(std::string_view name) {
  const Rule* const rule = find_rule(name);
  if (rule == nullptr) {
    throw Error("pre-tokenizer " + in_quotes(name) + " is not supported (expected one of " + supported() +
                ")");
  }
  PreTokenizer result;
  for (const std::string_view pattern : rule->patterns) {
    if (!pattern.empty()) result.patterns_.push_back(compile(std::string(pattern)));
  }
  result.ignores_merges_ = rule->ignores_merges;
  result.adds_bos_ = rule->adds_bos;
  return result;
}

std::string PreTokenizer::supported() {
  std::vector<std::string_view> names;
  for (const Rule& rule : kRules) names.push_back(rule.name);
  for (const Alias& alias : kAliases) names.push_back(alias.name);
  std::sort(names.begin(), names.end());
  std::string list;
  for (const std::string_view name : names) list += (list.empty() ? "" : ", ") + std::string(name);
  return list;
}

std::vector<std::string_view> PreTokenizer::split(std::string_view text) const {
  const std::unique_ptr<pcre2_match_data, FreeMatch> match(pcre2_match_data_create(1, nullptr));
  const std::unique_ptr<pcre2_match_context, FreeMatch> context(pcre2_match_context_create(nullptr));
  if (!match || !context) throw std::bad_alloc();
  // The default limit counts steps of backtracking and would refuse long runs of white space, which take one
  // a char.
  pcre2_set_match_limit(context.get(), std::numeric_limits<std::uint32_t>::max());

  std::vector<std::string_view> result;
  while (!text.empty()) {
    if (const std::size_t bad = run_length(text, false); bad > 0) {
      result.push_back(text.substr(0, bad));
      text.remove_prefix(bad);
      continue;
    }
    const std::size_t good = run_length(text, true);
    std::vector<std::string_view> pieces{text.substr(0, good)};
    for (const Code& pattern : patterns_) {
      std::vector<std::string_view> finer;
      for (const std::string_view piece : pieces) {
        split_piece(pattern.get(), piece, match.get(), context.get(), finer);
      }
      pieces = std::move(finer);
    }
    result.insert(result.end(), pieces.begin(), pieces.end());
    text.remove_prefix(good);
  }
  return result;
}

}  // namespace m40llm
