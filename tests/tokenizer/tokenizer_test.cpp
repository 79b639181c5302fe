#include "engine/tokenizer/tokenizer.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstdlib>
#include <fstream>
#include <map>
#include <nlohmann/json.hpp>
#include <numeric>
#include <optional>
#include <random>

#include "engine/error.hpp"
#include "engine/tokenizer/utf8.hpp"
#include "tests/gguf/colliding_strings.hpp"
#include "tests/gguf/gguf_writer.hpp"

namespace m40llm {
namespace {

using testing::GgufWriter;
using testing::TempFile;
using Ids = std::vector<std::int32_t>;
using Pairs = std::vector<std::pair<std::string, std::string>>;

std::string characters(std::string_view bytes) {
  std::string text;
  for (const char c : bytes) utf8::append(text, Tokenizer::byte_character(static_cast<std::uint8_t>(c)));
  return text;
}

/// A vocabulary of which the tests say what they need: token b is the byte b, then the results of the merges
/// in their order, then the special tokens.
struct Vocabulary {
  std::vector<std::string> tokens;
  std::vector<std::int32_t> types;
  std::vector<std::string> merges;
  std::map<std::string, std::int32_t> ids;  // by bytes or name

  explicit Vocabulary(const Pairs& pairs = {}) {
    for (int b = 0; b < 256; ++b) add(std::string(1, static_cast<char>(b)));
    for (const auto& [left, right] : pairs) merge(left, right);
  }
  std::int32_t add(const std::string& bytes) {
    ids[bytes] = static_cast<std::int32_t>(tokens.size());
    tokens.push_back(characters(bytes));
    types.push_back(1);
    return ids[bytes];
  }
  std::int32_t special(const std::string& name, std::int32_t type) {
    ids[name] = static_cast<std::int32_t>(tokens.size());
    tokens.push_back(name);
    types.push_back(type);
    return ids[name];
  }
  void merge(const std::string& left, const std::string& right) {
    merges.push_back(characters(left) + " " + characters(right));
    if (!ids.contains(left + right)) add(left + right);
  }
  [[nodiscard]] GgufWriter writer(std::string_view pre = "gpt-2") const {
    GgufWriter w;
    w.str("tokenizer.ggml.model", "gpt2").str("tokenizer.ggml.pre", pre);
    w.strings("tokenizer.ggml.tokens", tokens).i32s("tokenizer.ggml.token_type", types);
    w.strings("tokenizer.ggml.merges", merges);
    return w;
  }
};

Tokenizer load(const GgufWriter& writer) {
  const TempFile temp(writer.bytes());
  return Tokenizer::from(
      gguf::File::open(temp.path));  // the file is gone afterwards: nothing may refer to it
}

void expect_refused(const GgufWriter& writer, const std::vector<std::string>& named) {
  const TempFile temp(writer.bytes());
  const gguf::File file = gguf::File::open(temp.path);
  try {
    (void)Tokenizer::from(file);
    ADD_FAILURE() << "accepted; expected a complaint about " << named.front();
  } catch (const Error& error) {
    const std::string message = error.what();
    EXPECT_NE(message.find(temp.path.string()), std::string::npos) << message;
    for (const std::string& part : named)
      EXPECT_NE(message.find(part), std::string::npos) << part << " in: " << message;
  }
}

std::string random_unicode(std::mt19937& random, std::size_t length) {
  constexpr std::array<std::pair<char32_t, char32_t>, 8> kRanges{{{0x20, 0x7e},
                                                                  {0x20, 0x7e},
                                                                  {0x0, 0x1f},
                                                                  {0x80, 0x24f},
                                                                  {0x370, 0x1fff},
                                                                  {0x2000, 0x206f},
                                                                  {0x3000, 0xd7ff},
                                                                  {0xe000, 0x10ffff}}};
  std::string text;
  for (std::size_t i = 0; i < length; ++i) {
    const auto& [first, last] = kRanges[random() % kRanges.size()];
    utf8::append(text, first + static_cast<char32_t>(random() % (last - first + 1)));
  }
  return text;
}

TEST(Tokenizer, ByteCharactersAreGpt2s) {
  EXPECT_EQ(characters("Az~"), "Az~");
  EXPECT_EQ(characters(" \n"), "ĠĊ");
  EXPECT_EQ(characters("\x7f\xa0\xad"), "ġłŃ");
  EXPECT_EQ(characters("\xa1\xac\xae\xff"), "¡¬®ÿ");
  EXPECT_EQ(characters(std::string_view("\0", 1)), "Ā");
  std::map<char32_t, int> seen;
  for (int b = 0; b < 256; ++b) ++seen[Tokenizer::byte_character(static_cast<std::uint8_t>(b))];
  EXPECT_EQ(seen.size(), 256u);
}

TEST(Tokenizer, MergesInTheOrderOfTheList) {
  const Vocabulary v({{"l", "l"}, {"h", "e"}, {"he", "ll"}, {"hell", "o"}, {"e", "l"}});
  const Tokenizer t = load(v.writer());
  EXPECT_EQ(t.encode("hello"), (Ids{v.ids.at("hello")}));
  EXPECT_EQ(t.encode("helo"), (Ids{v.ids.at("he"), 'l', 'o'}));  // "he" is before "el"
  EXPECT_EQ(t.encode("elll"), (Ids{'e', v.ids.at("ll"), 'l'}));  // the leftmost of equals
  EXPECT_EQ(t.encode("hello hello"), (Ids{v.ids.at("hello"), ' ', v.ids.at("hello")}));
  EXPECT_EQ(t.encode(""), Ids{});
  // Never across the pre-tokenizer's cuts.
  EXPECT_EQ(t.encode("hel1lo"), (Ids{v.ids.at("he"), 'l', '1', 'l', 'o'}));
}

/// The definition, step by step: of all neighbours the pair first in the list, leftmost, until there is none.
Ids merge_one_by_one(const Vocabulary& v, const std::string& piece) {
  std::map<std::string, std::size_t> ranks;
  for (std::size_t i = 0; i < v.merges.size(); ++i) ranks.emplace(v.merges[i], i);
  std::vector<std::string> parts;
  for (const char c : piece) parts.emplace_back(1, c);
  while (true) {
    std::size_t best = ranks.size(), at = 0;
    for (std::size_t i = 0; i + 1 < parts.size(); ++i) {
      const auto it = ranks.find(characters(parts[i]) + " " + characters(parts[i + 1]));
      if (it != ranks.end() && it->second < best) best = it->second, at = i;
    }
    if (best == ranks.size()) break;
    parts[at] += parts[at + 1];
    parts.erase(parts.begin() + static_cast<std::ptrdiff_t>(at) + 1);
  }
  Ids ids;
  for (const std::string& part : parts) ids.push_back(v.ids.at(part));
  return ids;
}

TEST(Tokenizer, AgreesWithMergingOneByOne) {
  std::mt19937 random(7);
  for (int round = 0; round < 30; ++round) {
    Vocabulary v;
    std::vector<std::string> known{"a", "b", "c", "d"};
    for (int i = 0; i < 60; ++i) {
      const std::string left = known[random() % known.size()], right = known[random() % known.size()];
      if (left.size() + right.size() > 12 || v.ids.contains(left + right)) continue;
      v.merge(left, right);
      known.push_back(left + right);
    }
    std::shuffle(v.merges.begin(), v.merges.end(), random);
    const Tokenizer t = load(v.writer());
    for (int i = 0; i < 50; ++i) {
      std::string text;
      for (std::size_t n = random() % 80; n > 0; --n) text += static_cast<char>('a' + random() % 4);
      ASSERT_EQ(t.encode(text), merge_one_by_one(v, text)) << "round " << round << ": " << text;
    }
  }
}

TEST(Tokenizer, DecodesWhatItEncoded) {
  const Vocabulary v(
      {{" ", "t"}, {"h", "e"}, {" t", "he"}, {"\xc3", "\xa9"}, {"\xe2", "\x80"}, {"\xff", "\xff"}});
  std::mt19937 random(3);
  for (const char* pre : {"gpt-2", "smollm", "llama-bpe", "default"}) {
    const Tokenizer t = load(v.writer(pre));
    for (int i = 0; i < 300; ++i) {
      const std::string text = random_unicode(random, random() % 60);
      ASSERT_EQ(t.decode(t.encode(text)), text) << pre;
      std::string bytes;
      for (std::size_t n = random() % 60; n > 0; --n) bytes += static_cast<char>(random());
      ASSERT_EQ(t.decode(t.encode(bytes)), bytes) << pre;
    }
  }
}

TEST(Tokenizer, BytesThatAreNotUtf8AreEncodedAsBytes) {
  const Tokenizer t = load(Vocabulary().writer());
  EXPECT_EQ(t.encode("a\xff\xc3z"), (Ids{'a', 0xff, 0xc3, 'z'}));
}

TEST(Tokenizer, LeavesOutBytesWithoutAToken) {
  Vocabulary v({{"a", "\x04"}, {"b", "c"}});
  // Take three tokens away: a byte's, the result of a merge, and (of a merge that is kept) a part.
  for (const char* bytes : {"\x04", "a\x04", "bc"})
    v.tokens[static_cast<std::size_t>(v.ids.at(bytes))] = "unused";
  const Tokenizer t = load(v.writer());
  EXPECT_EQ(t.encode("x\x04y"), (Ids{'x', 'y'}));
  EXPECT_EQ(t.encode("bc"), (Ids{'b', 'c'}));
}

TEST(Tokenizer, PiecesThatAreTokensNeedNoMergesInLlama3) {
  Vocabulary v;
  const std::int32_t whole = v.add("hello");
  EXPECT_EQ(load(v.writer("llama-bpe")).encode("hello"), (Ids{whole}));
  EXPECT_EQ(load(v.writer("gpt-2")).encode("hello"), (Ids{'h', 'e', 'l', 'l', 'o'}));
}

TEST(Tokenizer, SpecialTokens) {
  Vocabulary v;
  const std::int32_t end = v.special("<|end|>", 3), longer = v.special("<|end|><|end|>", 3),
                     user = v.special("<u>", 4);
  const Tokenizer t = load(v.writer());
  EXPECT_EQ(t.encode("a<|end|>b", SpecialTokens::parsed), (Ids{'a', end, 'b'}));
  EXPECT_EQ(t.encode("<|end|>"), (Ids{'<', '|', 'e', 'n', 'd', '|', '>'}));
  EXPECT_EQ(t.encode("<|end|><|end|><|end|>", SpecialTokens::parsed), (Ids{longer, end}));
  EXPECT_EQ(t.encode("a<u>b"), (Ids{'a', user, 'b'}));
  EXPECT_EQ(t.decode(Ids{'a', end, user}), "a<u>");
  EXPECT_EQ(t.piece(end), "<|end|>");
  EXPECT_EQ(t.piece(' '), " ");
}

TEST(Tokenizer, BeginAndEnd) {
  Vocabulary v;
  const std::int32_t bos = v.special("<s>", 3), eos = v.special("<e>", 3), eot = v.special("<t>", 3);
  const std::int32_t named = v.special("<|endoftext|>", 3), other = v.special("<x>", 3);
  GgufWriter w = v.writer();
  w.u32("tokenizer.ggml.bos_token_id", static_cast<std::uint32_t>(bos));
  w.u32("tokenizer.ggml.eos_token_id", static_cast<std::uint32_t>(eos));
  w.u32("tokenizer.ggml.eot_token_id", static_cast<std::uint32_t>(eot));
  const Tokenizer silent = load(w);
  EXPECT_EQ(silent.bos(), bos);
  EXPECT_EQ(silent.eos(), eos);
  EXPECT_FALSE(silent.add_bos());
  EXPECT_EQ(silent.encode("a"), (Ids{'a'}));
  for (const std::int32_t id : {eos, eot, named}) EXPECT_TRUE(silent.is_end(id)) << id;
  for (const std::int32_t id : {bos, other, std::int32_t{'a'}}) EXPECT_FALSE(silent.is_end(id)) << id;
  const Tokenizer adding = load(w.boolean("tokenizer.ggml.add_bos_token", true));
  EXPECT_TRUE(adding.add_bos());
  EXPECT_EQ(adding.encode("a"), (Ids{bos, 'a'}));
  EXPECT_EQ(adding.encode(""), (Ids{bos}));
  EXPECT_EQ(adding.decode(adding.encode("a")), "a");
  EXPECT_TRUE(load(v.writer("llama-bpe").u32("tokenizer.ggml.bos_token_id", 256)).add_bos());
  EXPECT_FALSE(load(v.writer("llama-bpe")).add_bos());
  EXPECT_EQ(load(v.writer()).bos(), std::nullopt);
}

// As with other engines, which say that they override the type.
TEST(Tokenizer, EndsByNameWhateverTypeTheFileGives) {
  for (const std::int32_t type : {1, 3, 4, 5}) {  // normal, control, user-defined, unused
    for (const char* name : {"<|im_end|>", "<|eot_id|>", "<|eom_id|>", "<end_of_turn>", "<|end|>", "</s>",
                             "<|endoftext|>", "<|end_of_text|>", "<EOT>", "<｜end▁of▁sentence｜>"}) {
      Vocabulary v;
      const std::int32_t end = v.special(name, type), other = v.special("<|im_start|>", 4);
      const Tokenizer t = load(v.writer());
      EXPECT_TRUE(t.is_end(end)) << name << " of type " << type;
      EXPECT_FALSE(t.is_end(other));
      EXPECT_EQ(t.decode(Ids{'a', end}), "a") << name << " of type " << type;
      EXPECT_EQ(t.encode(name, SpecialTokens::parsed), Ids{end}) << name << " of type " << type;
      EXPECT_FALSE(t.encode(name) == Ids{end}) << name << " of type " << type;
    }
  }
  // Ids that metadata name are ends, too.
  for (const char* key : {"eos", "eot", "eom"}) {
    Vocabulary v;
    const auto end = static_cast<std::uint32_t>(v.special("<bye>", 1));
    const Tokenizer t = load(v.writer().u32("tokenizer.ggml." + std::string(key) + "_token_id", end));
    EXPECT_TRUE(t.is_end(static_cast<std::int32_t>(end))) << key;
  }
}

/// The definition, step by step: the longest names first, of equally long ones the first token's, each cut out of
/// all text that is left. Ids of special tokens; -1 for each byte of text.
Ids cut_one_by_one(const std::vector<std::string>& names, std::string_view text) {
  std::vector<std::size_t> order(names.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::stable_sort(order.begin(), order.end(),
                   [&](std::size_t a, std::size_t b) { return names[a].size() > names[b].size(); });
  std::vector<std::pair<std::string, std::int32_t>> parts{{std::string(text), -1}};
  for (const std::size_t i : order) {
    std::vector<std::pair<std::string, std::int32_t>> finer;
    for (auto& [part, id] : parts) {
      for (std::size_t at = 0; id < 0 && (at = part.find(names[i])) != std::string::npos;) {
        finer.push_back({part.substr(0, at), -1});
        finer.push_back({names[i], static_cast<std::int32_t>(i)});
        part.erase(0, at + names[i].size());
      }
      finer.push_back({part, id});
    }
    parts = finer;
  }
  Ids ids;
  for (const auto& [part, id] : parts) {
    if (id >= 0) {
      ids.push_back(id);
    } else {
      ids.insert(ids.end(), part.size(), -1);
    }
  }
  return ids;
}

TEST(Tokenizer, FindsSpecialTokensAsIfOneByOne) {
  std::mt19937 random(11);
  const auto letters = [&](std::size_t n) {
    std::string text;
    while (text.size() < n) text += "ab\xff"[random() % 3];
    return text;
  };
  for (int round = 0; round < 200; ++round) {
    Vocabulary v;
    std::vector<std::string> names;
    for (std::size_t n = 1 + random() % 8; n > 0; --n) {
      names.push_back(letters(1 + random() % 5));  // a name may be there twice
      v.special(names.back(), 3);
    }
    const Tokenizer t = load(v.writer());
    for (int i = 0; i < 20; ++i) {
      const std::string text = letters(random() % 40);
      Ids ids = t.encode(text, SpecialTokens::parsed);
      for (std::int32_t& id : ids) id = std::max(id - 256, -1);  // -1 is any byte
      ASSERT_EQ(ids, cut_one_by_one(names, text)) << "round " << round << ": " << text;
    }
  }
}

// A file can have as many special tokens as it likes: to look for each in all of a long text would take minutes.
TEST(Tokenizer, ManySpecialTokensInALongText) {
  Vocabulary v;
  for (int i = 0; i < 50'000; ++i) v.special("e" + std::to_string(i), 4);
  const Tokenizer t = load(v.writer());
  std::string text;
  while (text.size() < 500'000) text += "every sentence e17 needs e's ";
  const auto begin = std::chrono::steady_clock::now();
  EXPECT_EQ(t.decode(t.encode(text)), text);
  EXPECT_LT(std::chrono::steady_clock::now() - begin, std::chrono::seconds(10));
}

TEST(Tokenizer, AChatTurn) {
  Vocabulary v;
  const std::int32_t start = v.special("<|im_start|>", 3), end = v.special("<|im_end|>", 3);
  const Tokenizer t = load(v.writer());
  EXPECT_EQ(t.encode("<|im_start|>u\nhi<|im_end|>\n", SpecialTokens::parsed),
            (Ids{start, 'u', '\n', 'h', 'i', end, '\n'}));
  EXPECT_EQ(t.encode("<|im_start|>u\nhi<|im_end|>\n", SpecialTokens::as_text).size(), 27u);
}

TEST(Tokenizer, MessagesHaveNothingThatATerminalObeys) {
  const std::string evil = "\x1b[31m\xc2\x9b";
  expect_refused(GgufWriter().str("tokenizer.ggml.model", evil), {"'\\x1b[31m\\xc2\\x9b'"});
  expect_refused(Vocabulary().writer(evil), {"'\\x1b[31m\\xc2\\x9b'"});
  Vocabulary v;
  v.merges.push_back(evil);
  expect_refused(v.writer(), {"merge 0 ", "'\\x1b[31m\\xc2\\x9b'"});
}

std::chrono::duration<double> time_to_load(const GgufWriter& writer) {
  const TempFile temp(writer.bytes());
  const auto begin = std::chrono::steady_clock::now();
  (void)Tokenizer::from(gguf::File::open(temp.path));
  return std::chrono::steady_clock::now() - begin;
}

// 0.5 MB of them: quadratic time would be seconds.
TEST(Tokenizer, TokensThatCollideInTheLibrarysHashLoadAsFastAsOthers) {
  const auto with = [](const std::vector<std::string>& tokens) {
    Vocabulary v;
    v.tokens.insert(v.tokens.end(), tokens.begin(), tokens.end());
    v.types.resize(v.tokens.size(), 1);
    return v.writer();
  };
  constexpr std::size_t kNames = 20000;
  const auto colliding = testing::colliding_strings(kNames);
  ASSERT_TRUE(testing::collide(colliding));
  EXPECT_LT(time_to_load(with(colliding)),
            5 * time_to_load(with(testing::other_strings(kNames))) + std::chrono::duration<double>(0.3));
}

// The library's hash of a number is the number, and its tables' sizes are known: pairs of symbols whose ids, put
// into one number, are all the same modulo 42043.
TEST(Tokenizer, MergesThatCollideInTheLibrarysHashLoadAsFastAsOthers) {
  constexpr std::uint64_t kTable = 42043, kMerges = 41000;
  const auto with = [](bool collide) {
    GgufWriter w;
    w.str("tokenizer.ggml.model", "gpt2").str("tokenizer.ggml.pre", "gpt-2");
    std::vector<std::string> tokens, merges;
    for (std::uint64_t i = 0; i < kTable; ++i) tokens.push_back(std::to_string(i));
    for (std::uint64_t left = 0; left < kMerges; ++left) {
      const std::uint64_t above = (left << 32) % kTable;
      merges.push_back(std::to_string(left) + " " +
                       std::to_string(collide ? (kTable - above) % kTable : left));
    }
    return w.strings("tokenizer.ggml.tokens", tokens).strings("tokenizer.ggml.merges", merges);
  };
  EXPECT_LT(time_to_load(with(true)), 5 * time_to_load(with(false)) + std::chrono::duration<double>(0.3));
}

TEST(Tokenizer, RefusesIdsOutsideTheVocabulary) {
  const Tokenizer t = load(Vocabulary().writer());
  EXPECT_EQ(t.size(), 256u);
  for (const std::int32_t id : {-1, 256, 2147483647}) {
    EXPECT_THROW((void)t.piece(id), Error);
    EXPECT_THROW((void)t.decode(Ids{id}), Error);
    EXPECT_THROW((void)t.is_end(id), Error);
  }
}

TEST(Tokenizer, RefusesFilesItCannotUse) {
  const Vocabulary v(Pairs{{"a", "b"}});
  expect_refused(GgufWriter(), {"has no tokenizer", "tokenizer.ggml.model"});
  expect_refused(GgufWriter().str("tokenizer.ggml.model", "llama"), {"'llama' is not supported", "gpt2"});
  expect_refused(GgufWriter().str("tokenizer.ggml.model", "gpt2"),
                 {"'tokenizer.ggml.pre' is missing", "smollm"});
  expect_refused(v.writer("qwen9"), {"'qwen9' is not supported", ", command-r,", ", default,", ", smollm,"});
  GgufWriter w;
  w.str("tokenizer.ggml.model", "gpt2").str("tokenizer.ggml.pre", "gpt-2");
  expect_refused(w, {"'tokenizer.ggml.tokens' is missing"});
  expect_refused(GgufWriter(w).strings("tokenizer.ggml.tokens", {}), {"tokens' has 0 tokens"});
  w.strings("tokenizer.ggml.tokens", v.tokens);
  expect_refused(w, {"'tokenizer.ggml.merges' is missing"});
  expect_refused(GgufWriter(w).i32s("tokenizer.ggml.token_type", {1}), {"token_type' has 1 entries", "257"});
  for (const char* merge : {"ab", "", " ", "a ", " b"}) {
    expect_refused(GgufWriter(w).strings("tokenizer.ggml.merges", {"a b", merge}),
                   {"merge 1 ", "'" + std::string(merge) + "'"});
  }
  for (const char* key :
       {"tokenizer.ggml.bos_token_id", "tokenizer.ggml.eos_token_id", "tokenizer.ggml.eot_token_id"}) {
    expect_refused(v.writer().u32(key, 257), {key, "is 257", "below 257"});
  }
  expect_refused(v.writer().boolean("tokenizer.ggml.add_bos_token", true),
                 {"add_bos_token", "bos_token_id' is missing"});
}

// One piece of a million bytes: merging in quadratic time would take hours.
TEST(Tokenizer, AMegabyteWithoutSpaces) {
  Vocabulary v;
  for (std::string s = "a"; s.size() < 64; s += s) v.merge(s, s);
  const Tokenizer t = load(v.writer());
  const auto begin = std::chrono::steady_clock::now();
  const Ids ids = t.encode(std::string(1 << 20, 'a'));
  EXPECT_EQ(ids, Ids(1 << 14, v.ids.at(std::string(64, 'a'))));
  EXPECT_LT(std::chrono::steady_clock::now() - begin, std::chrono::seconds(30));
}

class RealTokenizer : public ::testing::Test {
 protected:
  void SetUp() override {
    const char* path = std::getenv("M40LLM_MODEL");
    if (path == nullptr)
      GTEST_SKIP() << "M40LLM_MODEL is not set (the path of SmolLM2-135M-Instruct.Q4_1.gguf)";
    tokenizer = Tokenizer::from(gguf::File::open(path));
  }
  std::optional<Tokenizer> tokenizer;
};

TEST_F(RealTokenizer, GivesTheOraclesTokens) {
  std::ifstream in(M40LLM_TEST_DATA "/smollm2_tokens.json");
  ASSERT_TRUE(in) << M40LLM_TEST_DATA "/smollm2_tokens.json cannot be read";
  const auto oracle = nlohmann::json::parse(in);
  ASSERT_FALSE(oracle.at("parse_special").get<bool>() || oracle.at("add_special").get<bool>());
  ASSERT_GT(oracle.at("texts").size(), 100u);
  for (const auto& c : oracle.at("texts")) {
    EXPECT_EQ(tokenizer->encode(c.at("text").get<std::string>()), c.at("tokens").get<Ids>()) << c.at("text");
  }
}

TEST_F(RealTokenizer, DecodesWhatItEncoded) {
  std::array<bool, 256> has{};  // SmolLM2 lacks tokens for 21 bytes
  for (int b = 0; b < 256; ++b) {
    has[static_cast<std::size_t>(b)] = !tokenizer->encode(std::string(1, static_cast<char>(b))).empty();
  }
  EXPECT_EQ(std::count(has.begin(), has.end(), false), 21);
  std::mt19937 random(5);
  for (int i = 0; i < 1000; ++i) {
    const std::string text = random_unicode(random, random() % 100);
    std::string expected;
    for (const char c : text) {
      if (has[static_cast<std::uint8_t>(c)]) expected += c;
    }
    ASSERT_EQ(tokenizer->decode(tokenizer->encode(text)), expected);
  }
}

TEST_F(RealTokenizer, KnowsItsSpecialTokens) {
  EXPECT_EQ(tokenizer->size(), 49152u);
  EXPECT_EQ(tokenizer->bos(), 1);
  EXPECT_EQ(tokenizer->eos(), 2);
  EXPECT_FALSE(tokenizer->add_bos());
  EXPECT_TRUE(tokenizer->is_end(0));  // <|endoftext|>
  EXPECT_TRUE(tokenizer->is_end(2));  // <|im_end|>
  EXPECT_FALSE(tokenizer->is_end(1));
  EXPECT_EQ(tokenizer->encode("<|im_start|><|im_end|>", SpecialTokens::parsed), (Ids{1, 2}));
}

TEST_F(RealTokenizer, AMegabyteWithoutSpaces) {
  std::string text;
  std::mt19937 random(1);
  while (text.size() < 1'000'000) text += static_cast<char>('a' + random() % 26);
  const auto begin = std::chrono::steady_clock::now();
  EXPECT_EQ(tokenizer->decode(tokenizer->encode(text)), text);
  EXPECT_LT(std::chrono::steady_clock::now() - begin, std::chrono::seconds(60));
}

}  // namespace
}  // namespace m40llm
