#include <gtest/gtest.h>

#include "bench/decode_run.hpp"

/// What is said of two ways that do not agree.
namespace m40llm::bench {
namespace {

/// Two tokens of a prompt, three generated.
Decoded by(Way way) {
  Decoded run;
  run.way = way;
  run.prompt = {7, 8};
  run.tokens = {1, 2, 3};
  run.logits_hashes = {10, 11, 12, 13};
  return run;
}

TEST(FirstDifference, IsNoneOfEqualRuns) {
  EXPECT_EQ(first_difference(by(Way::launches), by(Way::graph)), "");
}

TEST(FirstDifference, NamesTheStepTheTokenFedAndBothHashes) {
  for (const auto& [step, fed] : {std::pair<std::size_t, int>{0, 7}, {1, 8}, {2, 1}, {3, 2}}) {
    Decoded other = by(Way::graph);
    for (std::size_t i = step; i < 4; ++i) other.logits_hashes[i] = 0xf0 + i;
    // What it chose differs from there on, as it mostly would.
    for (std::size_t i = step < 1 ? 0 : step - 1; i < 3; ++i) other.tokens[i] = 9;
    EXPECT_EQ(first_difference(by(Way::launches), other),
              "position " + std::to_string(step) + " (fed token " + std::to_string(fed) +
                  "): the hash of the logits by graph is 00000000000000f" + std::to_string(step) +
                  ", by launches 000000000000000" + "abcd"[step] + "; expected the same");
  }
}

TEST(FirstDifference, SeesAnotherChoiceOfTheSameLogits) {
  Decoded other = by(Way::graph);
  other.tokens[1] = 5;
  other.logits_hashes[3] = 99;  // which follow from it
  EXPECT_EQ(first_difference(by(Way::launches), other),
            "position 2 (fed token 1): the token chosen by graph is 5, by launches 2; expected the same");
}

TEST(FirstDifference, SeesTheOneThatEndedEarlier) {
  Decoded shorter = by(Way::graph);
  shorter.tokens.pop_back();
  shorter.logits_hashes.pop_back();
  EXPECT_EQ(
      first_difference(by(Way::launches), shorter),
      "position 3 (fed token 2): the hash of the logits by graph is none, by launches 000000000000000d; "
      "expected the same");
  EXPECT_EQ(
      first_difference(shorter, by(Way::launches)),
      "position 3 (fed token 2): the hash of the logits by launches is 000000000000000d, by graph none; "
      "expected the same");
  // The first one's prompt was not finite.
  Decoded nothing = by(Way::launches);
  nothing.tokens.clear();
  nothing.logits_hashes.clear();
  EXPECT_EQ(
      first_difference(nothing, by(Way::graph)),
      "position 0 (fed token 7): the hash of the logits by graph is 000000000000000a, by launches none; "
      "expected the same");
}

}  // namespace
}  // namespace m40llm::bench
