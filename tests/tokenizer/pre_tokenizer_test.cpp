#include "engine/tokenizer/pre_tokenizer.hpp"

#include <gtest/gtest.h>

#include <chrono>

#include "engine/error.hpp"

namespace m40llm {
namespace {

using Pieces = std::vector<std::string_view>;

Pieces split(std::string_view name, std::string_view text) { return PreTokenizer::named(name).split(text); }

// "it's" splits at the apostrophe everywhere, "IT'S" only where case does not matter.
TEST(PreTokenizer, Contractions) {
  for (const char* name : {"gpt-2", "smollm"}) {
    EXPECT_EQ(split(name, "it's we'll"), (Pieces{"it", "'s", " we", "'ll"})) << name;
    EXPECT_EQ(split(name, "IT'S"), (Pieces{"IT", "'", "S"})) << name;
    EXPECT_EQ(split(name, " 's"), (Pieces{" '", "s"})) << name;
  }
  EXPECT_EQ(split("llama-bpe", "it's IT'S we'Ll"), (Pieces{"it", "'s", " IT", "'S", " we", "'Ll"}));
  EXPECT_EQ(split("llama-bpe", "'tis"), (Pieces{"'t", "is"}));
  EXPECT_EQ(split("qwen2", "it's IT'S we'Ll"), (Pieces{"it", "'s", " IT", "'S", " we", "'Ll"}));
}

TEST(PreTokenizer, Numbers) {
  EXPECT_EQ(split("gpt-2", "in 12345"), (Pieces{"in", " 12345"}));
  EXPECT_EQ(split("smollm", "in 12345"), (Pieces{"in", " ", "1", "2", "3", "4", "5"}));
  EXPECT_EQ(split("llama-bpe", "in 12345"), (Pieces{"in", " ", "123", "45"}));
  EXPECT_EQ(split("qwen2", "in 123"), (Pieces{"in", " ", "1", "2", "3"}));
  // By threes from the left, and the space before them is cut off by the rule for numbers.
  EXPECT_EQ(split("default", "in 12345"), (Pieces{"in", " ", "123", "45"}));
  EXPECT_EQ(split("default", "in 12"), (Pieces{"in", " ", "12"}));
  // Numbers are a Unicode class: Arabic-Indic digits, Roman numeral, one half.
  EXPECT_EQ(split("smollm", "٣٤Ⅷ½"), (Pieces{"٣", "٤", "Ⅷ", "½"}));
  EXPECT_EQ(split("gpt-2", "٣٤Ⅷ½"), (Pieces{"٣٤Ⅷ½"}));
}

TEST(PreTokenizer, WhiteSpace) {
  for (const char* name : {"gpt-2", "smollm"}) {
    EXPECT_EQ(split(name, "a   b"), (Pieces{"a", "  ", " b"})) << name;
    EXPECT_EQ(split(name, "a\n\nb"), (Pieces{"a", "\n", "\n", "b"})) << name;
    EXPECT_EQ(split(name, "a  "), (Pieces{"a", "  "})) << name;
    EXPECT_EQ(split(name, "\tb"), (Pieces{"\t", "b"})) << name;
  }
  EXPECT_EQ(split("llama-bpe", "a   b"), (Pieces{"a", "  ", " b"}));
  EXPECT_EQ(split("llama-bpe", "a \n\n b"), (Pieces{"a", " \n\n", " b"}));
  EXPECT_EQ(split("qwen2", "a \n\n b"), (Pieces{"a", " \n\n", " b"}));
  EXPECT_EQ(split("llama-bpe", "\tb"), (Pieces{"\tb"}));
  // A digit ends the piece for what comes after it in the list, so white space before it stays together.
  EXPECT_EQ(split("smollm", "a  5"), (Pieces{"a", "  ", "5"}));
  EXPECT_EQ(split("gpt-2", "a  5"), (Pieces{"a", " ", " 5"}));
  // No-break and ideographic space are white space; the Mongolian vowel separator is not.
  EXPECT_EQ(split("gpt-2", "a\u00a0\u3000b"), (Pieces{"a", "\u00a0", "\u3000", "b"}));
  EXPECT_EQ(split("gpt-2", "!\u180e!"), (Pieces{"!\u180e!"}));
}

TEST(PreTokenizer, Punctuation) {
  for (const char* name : {"gpt-2", "smollm"}) {
    EXPECT_EQ(split(name, "no!!! (x)\n"), (Pieces{"no", "!!!", " (", "x", ")", "\n"})) << name;
  }
  EXPECT_EQ(split("llama-bpe", "no!!!\n\n(x"), (Pieces{"no", "!!!\n\n", "(x"}));
  // Cut off first, so that no space goes with it.
  EXPECT_EQ(split("default", "a (b+1) ~"), (Pieces{"a", " ", "(", "b", "+", "1", ")", " ", "~"}));
  EXPECT_EQ(split("default", "it's"), (Pieces{"it", "'", "s"}));
}

TEST(PreTokenizer, Words) {
  for (const char* name : {"gpt-2", "smollm", "llama-bpe"}) {
    EXPECT_EQ(split(name, "Größe 北京 🙂🙂"), (Pieces{"Größe", " 北京", " 🙂🙂"})) << name;
  }
  // A combining mark is no letter.
  EXPECT_EQ(split("gpt-2", "e\u0301a"), (Pieces{"e", "\u0301", "a"}));
}

TEST(PreTokenizer, BytesThatAreNotUtf8AreTheirOwnPieces) {
  for (const char* name : {"gpt-2", "smollm", "llama-bpe", "default"}) {
    EXPECT_EQ(split(name,
                    "ab\xff\xfe"
                    "cd"),
              (Pieces{"ab", "\xff\xfe", "cd"}))
        << name;
    EXPECT_EQ(split(name, "\xc3"), (Pieces{"\xc3"})) << name;  // cut short
    EXPECT_EQ(split(name,
                    "\xc0\xaf"
                    "a"),
              (Pieces{"\xc0\xaf", "a"}))
        << name;                                                                       // overlong
    EXPECT_EQ(split(name, "a\xed\xa0\x80"), (Pieces{"a", "\xed\xa0\x80"})) << name;    // surrogate
    EXPECT_EQ(split(name, "\xf4\x90\x80\x80"), (Pieces{"\xf4\x90\x80\x80"})) << name;  // above U+10FFFF
    EXPECT_EQ(split(name, "a  \xff"), (Pieces{"a", "  ", "\xff"})) << name;
    EXPECT_EQ(split(name, std::string_view("a\0 ", 3)), (Pieces{"a", std::string_view("\0", 1), " "}))
        << name;
  }
}

TEST(PreTokenizer, NothingGivesNothing) { EXPECT_TRUE(split("gpt-2", "").empty()); }

// Quadratic work would take minutes here.
TEST(PreTokenizer, IsLinear) {
  const auto begin = std::chrono::steady_clock::now();
  std::string words, broken, spaces(1'000'000, ' '), lines(1'000'000, '\n');
  spaces += 'x';
  lines += 'x';
  while (words.size() < 1'000'000) words += "word 1 ";
  while (broken.size() < 1'000'000) broken += "word 1 \xff";
  for (const char* name : {"gpt-2", "smollm", "llama-bpe", "default"}) {
    for (const std::string& text :
         {std::string(1'000'000, 'a'), spaces, lines, std::string(1'000'000, '\xff'), words, broken}) {
      std::string joined;
      for (const std::string_view piece : split(name, text)) joined += piece;
      EXPECT_TRUE(joined == text) << name;
    }
  }
  EXPECT_LT(std::chrono::steady_clock::now() - begin, std::chrono::seconds(60));
}

// Looking for the line break that is not there takes a step of backtracking a character, more than PCRE2
// allows by default.
TEST(PreTokenizer, LongRunsOfWhiteSpace) {
  const std::string text(12'000'000, ' ');
  EXPECT_EQ(split("llama-bpe", text).size(), 1u);
}

// Text that the rules cut differently shows which one stands behind a name.
TEST(PreTokenizer, OtherNamesOfARule) {
  const std::string text = "It's IT'S in 12345\n\n no!!!\n";
  for (const auto& [rule, names] : std::vector<std::pair<const char*, std::vector<const char*>>>{
           {"gpt-2",
            {"mpt", "olmo", "phi-2", "jais", "exaone4", "gigachat", "a.x-4.0", "mellum", "trillion",
             "granite-docling"}},
           {"smollm", {"command-r", "refact", "starcoder", "codeshell", "exaone", "minerva-7b", "mellum2"}},
           {"llama-bpe", {"llama3", "llama-v3", "falcon3", "pixtral", "falcon-h1", "lfm2", "midm-2.0"}}}) {
    const PreTokenizer expected = PreTokenizer::named(rule);
    for (const char* name : names) {
      const PreTokenizer found = PreTokenizer::named(name);
      EXPECT_EQ(found.split(text), expected.split(text)) << name;
      EXPECT_EQ(found.ignores_merges(), expected.ignores_merges()) << name;
      EXPECT_EQ(found.adds_bos(), expected.adds_bos()) << name;
      EXPECT_NE(PreTokenizer::supported().find(name), std::string::npos) << name;
    }
  }
  EXPECT_NE(split("gpt-2", text), split("smollm", text));
  EXPECT_NE(split("gpt-2", text), split("llama-bpe", text));
}

TEST(PreTokenizer, RefusesUnknownNames) {
  for (const auto& [name, shown] : {std::pair("qwen9", "'qwen9'"), std::pair("\x1b[31m", "'\\x1b[31m'")}) {
    try {
      (void)PreTokenizer::named(name);
      FAIL() << "accepted";
    } catch (const Error& error) {
      EXPECT_EQ(std::string(error.what())
                    .find("pre-tokenizer " + std::string(shown) +
                          " is not supported (expected one of a.x-4.0, codeshell, "),
                0u)
          << error.what();
    }
  }
}

}  // namespace
}  // namespace m40llm
