#include "engine/tokenizer/tokenizer.hpp"

#include <algorithm>
#include <limits>
#include <numeric>
#include <queue>
#include <random>
#include <tuple>
#include <utility>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "engine/error.hpp"
#include "engine/printable.hpp"
#include "engine/tokenizer/utf8.hpp"

namespace m40llm {
namespace {

// Values of tokenizer.ggml.token_type that matter here (docs/gguf.md of the ggml project).
constexpr std::int32_t kUnknownToken = 2;
constexpr std::int32_t kControlToken = 3;
constexpr std::int32_t kUserDefinedToken = 4;

// Of tokens and of merges: symbol(), which makes up to three strings a merge into ids, stays within 32 bits.
constexpr std::size_t kMaxEntries = std::size_t{1} << 28;

// Tokens that end a text under whatever key the file lists them, or under none, and whatever type it gives them:
// the names that src/llama-vocab.cpp of llama.cpp knows. (Its exceptions are for vocabularies of architectures
// that are refused.)
constexpr auto kEndNames = std::to_array<std::string_view>({"<|endoftext|>",
                                                            "<|im_end|>",
                                                            "<|eot_id|>",
                                                            "<|eom_id|>",
                                                            "<|end_of_text|>",
                                                            "<|end|>",
                                                            "<end_of_turn>",
                                                            "<end_of_utterance>",
                                                            "<eos>",
                                                            "</s>",
                                                            "<EOT>",
                                                            "_<EOT>",
                                                            "[EOT]",
                                                            "[EOS]",
                                                            "[e~[",
                                                            "<turn|>",
                                                            "<|tool_response>",
                                                            "<|return|>",
                                                            "<|call|>",
                                                            "<|calls|>",
                                                            "<|flush|>",
                                                            "<｜end▁of▁sentence｜>"});

bool ends_by_name(std::string_view text) {
  return std::find(kEndNames.begin(), kEndNames.end(), text) != kEndNames.end();
}

std::string byte_text(std::uint8_t byte) {
  std::string text;
  utf8::append(text, Tokenizer::byte_character(byte));
  return text;
}

constexpr char32_t kByteCharacters = 0x144;  // all of them are below

/// The bytes that a token's text stands for. Characters outside the table stand for themselves.
std::string bytes_of(std::string_view text) {
  static const std::array<std::int16_t, kByteCharacters> bytes = [] {
    std::array<std::int16_t, kByteCharacters> table;
    table.fill(-1);
    for (unsigned b = 0; b < 256; ++b)
      table[Tokenizer::byte_character(static_cast<std::uint8_t>(b))] = static_cast<std::int16_t>(b);
    return table;
  }();
  std::string result;
  while (!text.empty()) {
    const std::size_t length = utf8::sequence_length(text.substr(0, 4));
    const std::string_view character = text.substr(0, std::max<std::size_t>(1, length));
    const char32_t code = length > 0 ? utf8::code_point(character) : kByteCharacters;
    if (code < kByteCharacters && bytes[code] >= 0) {
      result.push_back(static_cast<char>(bytes[code]));
    } else {
      result += character;
    }
    text.remove_prefix(character.size());
  }
  return result;
}

}  // namespace

char32_t Tokenizer::byte_character(std::uint8_t byte) {
  // Skipped by Latin-1's printable ranges: 0x00-0x20, 0x7f-0xa0 and the soft hyphen 0xad.
  if (byte <= 0x20) return 0x100u + byte;
  if (byte >= 0x7f && byte <= 0xa0) return 0x121u + (byte - 0x7fu);
  if (byte == 0xad) return 0x143u;
  return byte;
}

std::size_t Tokenizer::Hash::operator()(std::string_view text) const {
  return XXH3_64bits_withSeed(text.data(), text.size(), seed);
}

Tokenizer::Tokenizer(PreTokenizer pre_tokenizer)
    : pre_tokenizer_(std::move(pre_tokenizer)), symbols_(0, [] {
        std::random_device random;
        return Hash{std::uint64_t{random()} << 32 | random()};
      }()) {}

Tokenizer Tokenizer::from(const gguf::File& file) {
  if (!file.has("tokenizer.ggml.model")) {
    file.fail(
        "has no tokenizer: metadata key 'tokenizer.ggml.model' is missing (expected 'gpt2', byte-level BPE)");
  }
  if (const std::string_view model = file.str("tokenizer.ggml.model"); model != "gpt2")
    file.fail("tokenizer model " + in_quotes(model) + " is not supported (expected gpt2, byte-level BPE)");
  if (!file.has("tokenizer.ggml.pre")) {
    file.fail(
        "does not name its pre-tokenizer: metadata key 'tokenizer.ggml.pre' is missing (expected one of " +
        PreTokenizer::supported() + ")");
  }
  const std::string_view pre = file.str("tokenizer.ggml.pre");
  const auto pre_tokenizer = [&] {
    try {
      return PreTokenizer::named(pre);
    } catch (const Error& error) {
      file.fail("tokenizer.ggml.pre: " + std::string(error.what()));
    }
  };
  Tokenizer tokenizer(pre_tokenizer());
  tokenizer.read_vocabulary(file);
  tokenizer.read_merges(file);
  tokenizer.read_special_tokens(file);
  return tokenizer;
}

void Tokenizer::read_vocabulary(const gguf::File& file) {
  const auto tokens = file.strings("tokenizer.ggml.tokens");
  if (tokens.empty() || tokens.size() > kMaxEntries) {
    file.fail("metadata key 'tokenizer.ggml.tokens' has " + std::to_string(tokens.size()) +
              " tokens (expected 1 to 2^28)");
  }
  std::vector<std::int32_t> types(tokens.size(), 1);
  if (file.has("tokenizer.ggml.token_type")) types = file.i32s("tokenizer.ggml.token_type");
  if (types.size() != tokens.size()) {
    file.fail("metadata key 'tokenizer.ggml.token_type' has " + std::to_string(types.size()) +
              " entries (expected " + std::to_string(tokens.size()) + ", as many as tokens)");
  }
  pieces_.reserve(tokens.size());
  kinds_.reserve(tokens.size());
  for (std::size_t id = 0; id < tokens.size(); ++id) {
    const bool control = types[id] == kControlToken || types[id] == kUnknownToken || ends_by_name(tokens[id]);
    const bool user_defined = types[id] == kUserDefinedToken;
    kinds_.push_back(control ? Kind::control : user_defined ? Kind::user_defined : Kind::text);
    pieces_.push_back(kinds_.back() == Kind::text ? bytes_of(tokens[id]) : std::string(tokens[id]));
    longest_token_ = std::max(longest_token_, pieces_.back().size());
    symbols_[std::string(tokens[id])] = static_cast<Symbol>(id);  // of equal texts the last one counts
    if (kinds_.back() != Kind::text && !tokens[id].empty())
      special_tokens_.push_back(static_cast<std::int32_t>(id));
  }
  for (std::size_t b = 0; b < 256; ++b) byte_symbols_[b] = symbol(byte_text(static_cast<std::uint8_t>(b)));
  std::stable_sort(special_tokens_.begin(), special_tokens_.end(), [&](std::int32_t a, std::int32_t b) {
    return pieces_[static_cast<std::size_t>(a)].size() > pieces_[static_cast<std::size_t>(b)].size();
  });
}

Tokenizer::Symbol Tokenizer::symbol(std::string_view text) {
  if (const auto it = symbols_.find(text); it != symbols_.end()) return it->second;
  // Ids of strings that are no tokens follow those of the tokens; symbols_ may hold fewer than size() (equal
  // texts), so its size alone would not do.
  return symbols_.emplace(text, static_cast<Symbol>(pieces_.size() + symbols_.size())).first->second;
}

void Tokenizer::read_merges(const gguf::File& file) {
  const auto merges = file.strings("tokenizer.ggml.merges");
  if (merges.size() > kMaxEntries) {
    file.fail("metadata key 'tokenizer.ggml.merges' has " + std::to_string(merges.size()) +
              " merges (expected at most 2^28)");
  }
  struct Pair {
    Symbol left;
    Merge merge;
  };
  std::vector<Pair> pairs;
  pairs.reserve(merges.size());
  std::string whole;
  for (std::size_t rank = 0; rank < merges.size(); ++rank) {
    const std::string_view merge = merges[rank];
    const std::size_t space = merge.find(' ', 1);
    if (space == std::string_view::npos || space + 1 == merge.size()) {
      file.fail("merge " + std::to_string(rank) + " of 'tokenizer.ggml.merges' is " + in_quotes(merge) +
                " (expected two symbols with a space between them)");
    }
    const std::string_view left = merge.substr(0, space);
    const std::string_view right = merge.substr(space + 1);
    whole.assign(left).append(right);
    const Symbol left_symbol = symbol(left);
    const Symbol right_symbol = symbol(right);
    pairs.push_back({left_symbol, {right_symbol, static_cast<std::int32_t>(rank), symbol(whole)}});
  }

  const auto key = [](const Pair& p) { return std::tuple(p.left, p.merge.right, p.merge.rank); };
  std::sort(pairs.begin(), pairs.end(), [&](const Pair& a, const Pair& b) { return key(a) < key(b); });
  merges_begin_.assign(pieces_.size() + symbols_.size() + 1, 0);  // every symbol is below
  merges_.reserve(pairs.size());
  for (std::size_t i = 0; i < pairs.size(); ++i) {
    const auto& [left, merge] = pairs[i];
    if (i > 0 && pairs[i - 1].left == left && pairs[i - 1].merge.right == merge.right)
      continue;  // the first of equals counts
    merges_.push_back(merge);
    ++merges_begin_[static_cast<std::size_t>(left) + 1];
  }
  std::partial_sum(merges_begin_.begin(), merges_begin_.end(), merges_begin_.begin());
}

const Tokenizer::Merge* Tokenizer::find_merge(Symbol left, Symbol right) const {
  const auto begin = merges_.begin() + merges_begin_[static_cast<std::size_t>(left)];
  const auto end = merges_.begin() + merges_begin_[static_cast<std::size_t>(left) + 1];
  const auto it =
      std::lower_bound(begin, end, right, [](const Merge& merge, Symbol r) { return merge.right < r; });
  return it == end || it->right != right ? nullptr : &*it;
}

std::optional<std::int32_t> Tokenizer::read_id(const gguf::File& file, std::string_view key) const {
  if (!file.has(key)) return std::nullopt;
  const std::uint32_t id = file.u32(key);
  if (id >= size()) {
    file.fail("metadata key '" + std::string(key) + "' is " + std::to_string(id) +
              " (expected a token id below " + std::to_string(size()) + ")");
  }
  return static_cast<std::int32_t>(id);
}

void Tokenizer::read_special_tokens(const gguf::File& file) {
  bos_ = read_id(file, "tokenizer.ggml.bos_token_id");
  eos_ = read_id(file, "tokenizer.ggml.eos_token_id");
  add_bos_ = file.boolean_or("tokenizer.ggml.add_bos_token", pre_tokenizer_.adds_bos() && bos_.has_value());
  if (add_bos_ && !bos_) {
    file.fail("'tokenizer.ggml.add_bos_token' is true but 'tokenizer.ggml.bos_token_id' is missing");
  }
  ends_.resize(size());
  for (const auto& end :
       {eos_, read_id(file, "tokenizer.ggml.eot_token_id"), read_id(file, "tokenizer.ggml.eom_token_id")}) {
    if (end) ends_[static_cast<std::size_t>(*end)] = true;
  }
  for (const std::int32_t id : special_tokens_) {
    const auto index = static_cast<std::size_t>(id);
    if (ends_by_name(pieces_[index])) ends_[index] = true;
  }
}

void Tokenizer::check(std::int32_t token) const {
  if (token < 0 || static_cast<std::size_t>(token) >= size()) {
    throw Error("token " + std::to_string(token) + " is not in the vocabulary (expected 0 to " +
                std::to_string(size() - 1) + ")");
  }
}

bool Tokenizer::is_end(std::int32_t token) const {
  check(token);
  return ends_[static_cast<std::size_t>(token)];
}

std::string Tokenizer::piece(std::int32_t token) const {
  check(token);
  return pieces_[static_cast<std::size_t>(token)];
}

std::string Tokenizer::decode(std::span<const std::int32_t> tokens) const {
  std::string text;
  for (const std::int32_t token : tokens) {
    check(token);
    if (kinds_[static_cast<std::size_t>(token)] != Kind::control)
      text += pieces_[static_cast<std::size_t>(token)];
  }
  return text;
}

std::vector<std::int32_t> Tokenizer::encode(std::string_view text, SpecialTokens special) const {
  std::vector<std::int32_t> tokens;
  if (add_bos_) tokens.push_back(*bos_);
  for (const Fragment& fragment : cut_at_special_tokens(text, special)) {
    if (fragment.token >= 0) {
      tokens.push_back(fragment.token);
      continue;
    }
    for (const std::string_view piece : pre_tokenizer_.split(fragment.text)) encode_piece(piece, tokens);
  }
  return tokens;
}

std::vector<Tokenizer::Fragment> Tokenizer::cut_at_special_tokens(std::string_view text,
                                                                  SpecialTokens special) const {
  std::vector<Fragment> fragments;
  if (!text.empty()) fragments.push_back({text, -1});
  // Longest names first over the whole text, so that a name that is part of another one never cuts it.
  for (const std::int32_t id : special_tokens_) {
    const auto index = static_cast<std::size_t>(id);
    if (kinds_[index] == Kind::control && special == SpecialTokens::as_text) continue;
    const std::string& name = pieces_[index];
    if (text.find(name) == std::string_view::npos) continue;
    std::vector<Fragment> finer;
    for (const Fragment& fragment : fragments) {
      std::string_view rest = fragment.text;
      for (std::size_t at = 0; fragment.token < 0 && (at = rest.find(name)) != std::string_view::npos;) {
        if (at > 0) finer.push_back({rest.substr(0, at), -1});
        finer.push_back({rest.substr(at, name.size()), id});
        rest.remove_prefix(at + name.size());
      }
      if (!rest.empty()) finer.push_back({rest, fragment.token});
    }
    fragments = std::move(finer);
  }
  return fragments;
}

void Tokenizer::encode_piece(std::string_view piece, std::vector<std::int32_t>& tokens) const {
  if (pre_tokenizer_.ignores_merges() && piece.size() <= longest_token_) {
    std::string text;
    for (const char c : piece) utf8::append(text, byte_character(static_cast<std::uint8_t>(c)));
    const auto it = symbols_.find(text);
    if (it != symbols_.end() && static_cast<std::size_t>(it->second) < size()) {
      tokens.push_back(it->second);
      return;
    }
  }

  // Symbols in a doubly linked list over the bytes they begin with; a merge unlinks the right one of a pair.
  struct Link {
    Symbol symbol;
    std::size_t previous, next;
  };
  constexpr std::size_t kNone = std::numeric_limits<std::size_t>::max();
  std::vector<Link> links(piece.size());
  for (std::size_t i = 0; i < piece.size(); ++i) {
    links[i] = {byte_symbols_[static_cast<std::uint8_t>(piece[i])], i == 0 ? kNone : i - 1,
                i + 1 == piece.size() ? kNone : i + 1};
  }

  // Lowest rank first, leftmost among equals. An entry is stale once either of its symbols has been merged;
  // then the pair's symbols are no longer these, which is cheaper to notice than to prevent.
  struct Candidate {
    std::int32_t rank;
    std::size_t left;
    Symbol left_symbol, right_symbol, result;
    bool operator>(const Candidate& o) const { return std::tie(rank, left) > std::tie(o.rank, o.left); }
  };
  std::priority_queue<Candidate, std::vector<Candidate>, std::greater<>> queue;
  const auto consider = [&](std::size_t left) {
    if (left == kNone || links[left].next == kNone) return;
    const Symbol a = links[left].symbol;
    const Symbol b = links[links[left].next].symbol;
    if (const Merge* merge = find_merge(a, b)) queue.push({merge->rank, left, a, b, merge->result});
  };
  constexpr Symbol kMerged = -1;
  for (std::size_t i = 0; i < links.size(); ++i) consider(i);
  while (!queue.empty()) {
    const Candidate best = queue.top();
    queue.pop();
    Link& left = links[best.left];
    if (left.symbol != best.left_symbol || left.next == kNone || links[left.next].symbol != best.right_symbol)
      continue;
    Link& right = links[left.next];
    left.symbol = best.result;
    right.symbol = kMerged;
    left.next = right.next;
    if (left.next != kNone) links[left.next].previous = best.left;
    consider(left.previous);
    consider(best.left);
  }
  for (std::size_t i = 0; i < links.size(); i = std::min(links[i].next, links.size())) {
    const std::size_t end = std::min(links[i].next, links.size());
    append_symbol(links[i].symbol, piece.substr(i, end - i), tokens);
  }
}

void Tokenizer::append_symbol(Symbol symbol, std::string_view bytes,
                              std::vector<std::int32_t>& tokens) const {
  if (static_cast<std::size_t>(symbol) < size()) {
    tokens.push_back(symbol);
    return;
  }
  // A string that merges lead to but that is no token: its bytes, as far as the vocabulary has them.
  for (const char c : bytes) {
    const Symbol byte = byte_symbols_[static_cast<std::uint8_t>(c)];
    if (static_cast<std::size_t>(byte) < size()) tokens.push_back(byte);
  }
}

}  // namespace m40llm
