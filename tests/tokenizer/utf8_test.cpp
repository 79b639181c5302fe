#include "engine/tokenizer/utf8.hpp"

#include <gtest/gtest.h>

namespace m40llm {
namespace {

TEST(Utf8, EveryCodePointIsOneSequence) {
  for (char32_t c = 0; c <= 0x10ffff; ++c) {
    if (c >= 0xd800 && c <= 0xdfff) continue;
    std::string text;
    utf8::append(text, c);
    ASSERT_EQ(utf8::sequence_length(text), text.size()) << std::hex << static_cast<unsigned>(c);
    ASSERT_EQ(utf8::sequence_length(text + "\x80"), text.size());
    ASSERT_EQ(utf8::sequence_length(text.substr(0, text.size() - 1)), 0u) << "cut short";
  }
}

TEST(Utf8, IllFormedSequencesHaveNoLength) {
  for (const char* text : {"\x80", "\xbf", "\xc0\xaf", "\xc1\xbf", "\xe0\x9f\xbf", "\xed\xa0\x80",
                           "\xed\xbf\xbf", "\xf0\x8f\xbf\xbf", "\xf4\x90\x80\x80", "\xf5\x80\x80\x80", "\xff",
                           "\xc3(", "\xe2\x82(", "\xf0\x9f\x99(", ""}) {
    EXPECT_EQ(utf8::sequence_length(text), 0u) << text;
  }
}

}  // namespace
}  // namespace m40llm
