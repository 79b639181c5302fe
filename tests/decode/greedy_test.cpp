#include "engine/decode/greedy.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "engine/device/open.hpp"
#include "engine/error.hpp"
#include "tests/model/model_file.hpp"
#include "tests/model/whole_model.hpp"

namespace m40llm::testing {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

constexpr int kRoom = 16;

class Greedy : public ::testing::TestWithParam<Way> {
 protected:
  /// Decodes and keeps the steps; `until` as on_step.
  void decode(
      std::span<const int> prompt, int n_tokens,
      const OnStep& until = [](const DecodeStep&) { return true; }) {
    steps_.clear();
    asked_.clear();
    decode_greedy(
        *device_, *stream_, model_, prompt, n_tokens, way_,
        [&](int token) {
          asked_.push_back(token);
          return asked_.size() == end_after_;
        },
        [&](const DecodeStep& step) {
          steps_.push_back(step);
          return until(step);
        });
  }
  std::vector<int> fed() const {
    std::vector<int> tokens;
    for (const DecodeStep& step : steps_) tokens.push_back(step.token);
    return tokens;
  }
  std::vector<int> chosen() const {
    std::vector<int> tokens;
    for (const DecodeStep& step : steps_) tokens.push_back(step.next);
    return tokens;
  }
  std::string message_of(std::span<const int> prompt, int n_tokens) {
    try {
      decode(prompt, n_tokens);
    } catch (const Error& error) {
      return error.what();
    }
    return {};
  }

  const OpenModelFile file_{ModelFile()};
  const std::unique_ptr<Device> device_ = open_device({.device = "simt"});
  const std::unique_ptr<Stream> stream_ = device_->create_stream();
  Llama model_{*device_, *stream_, file_.file, kRoom};
  const std::vector<int> prompt_{3, 1, 4};
  const Way way_ = GetParam();
  std::size_t end_after_ = 0;  ///< calls of is_end
  std::vector<DecodeStep> steps_;
  std::vector<int> asked_;  ///< tokens that is_end was asked about
};

TEST_P(Greedy, FeedsThePromptThenWhatItChose) {
  decode(prompt_, 5);
  ASSERT_EQ(steps_.size(), 3U + 5 - 1);
  const std::vector<int> chosen = this->chosen();
  EXPECT_THAT(fed(), ElementsAre(3, 1, 4, chosen[2], chosen[3], chosen[4], chosen[5]));
  // The choice is the largest logit of the same tokens, fed one by one.
  const std::vector<int> tokens = fed();
  EXPECT_EQ(run(*stream_, model_, tokens).next, chosen);
}

TEST_P(Greedy, StartsAgainAtPositionZero) {
  decode(prompt_, 6);
  const std::vector<int> first = chosen();
  decode(std::vector{60, 61, 62, 63}, 6);
  EXPECT_NE(chosen(), first);
  decode(prompt_, 6);
  EXPECT_EQ(chosen(), first);
}

TEST_P(Greedy, OneTokenNeedsNoStepAfterThePrompt) {
  decode(prompt_, 1);
  EXPECT_EQ(fed(), prompt_);
  EXPECT_THAT(asked_, ElementsAre(steps_.back().next));
}

TEST_P(Greedy, StopsAtAnEnd) {
  end_after_ = 2;
  decode(prompt_, 8);
  ASSERT_EQ(steps_.size(), 4U);
  // It is asked about what was generated, not about what the model would have said within the prompt.
  EXPECT_THAT(asked_, ElementsAre(steps_[2].next, steps_[3].next));
}

TEST_P(Greedy, StopsWhenOnStepSaysSo) {
  decode(prompt_, 8, [&](const DecodeStep&) { return steps_.size() < 5; });
  EXPECT_EQ(steps_.size(), 5U);
  decode(prompt_, 8, [&](const DecodeStep&) { return steps_.size() < 2; });
  EXPECT_THAT(fed(), ElementsAre(3, 1));
  EXPECT_TRUE(asked_.empty());
}

TEST_P(Greedy, UsesTheWholeContextAndNoMore) {
  decode(prompt_, kRoom - 3);
  EXPECT_EQ(asked_.size(), static_cast<std::size_t>(kRoom - 3));
  const std::uint64_t launches = device_->counters().launches;
  EXPECT_THAT(message_of(prompt_, kRoom - 2),
              AllOf(HasSubstr("3 tokens"), HasSubstr("14 to generate"), HasSubstr("16")));
  EXPECT_THAT(message_of(std::vector<int>(kRoom + 1, 2), 1), AllOf(HasSubstr("17 tokens"), HasSubstr("16")));
  EXPECT_THAT(message_of(prompt_, -1), HasSubstr("-1 to generate"));
  EXPECT_EQ(device_->counters().launches, launches);  // before anything was fed
}

TEST_P(Greedy, NeedsAPrompt) { EXPECT_THAT(message_of({}, 1), HasSubstr("prompt is empty")); }

TEST_P(Greedy, RefusesATokenOutsideTheVocabulary) {
  EXPECT_THAT(message_of(std::vector{3, 67}, 1), HasSubstr("token 67"));
  // The next sequence is none the worse.
  decode(prompt_, 1);
  EXPECT_EQ(fed(), prompt_);
}

TEST_P(Greedy, CountsTheSameCallsForEveryToken) {
  decode(prompt_, 8);
  const bool by_ring = way_ == Way::ring;  // whose one launch was before the first step
  const std::uint64_t n_kernels = by_ring ? 0 : model_.step_launches(way_).size();
  for (const DecodeStep& step : steps_) {
    EXPECT_EQ(step.counters.launches, way_ == Way::graph ? 1 : n_kernels);
    EXPECT_EQ(step.counters.kernels, n_kernels);
    EXPECT_EQ(step.counters.copies, by_ring ? 0U : 1U);  // the choice out, nothing in
    EXPECT_EQ(step.counters.synchronizations, by_ring ? 0U : 1U);
    EXPECT_EQ(step.counters.allocations, 0U);
    EXPECT_GT(step.time_us, 0);
  }
}

TEST_P(Greedy, HoldsNoMemoryAfterwards) {
  decode(prompt_, 1);  // what a way needs is made by the first sequence that goes it
  const auto before = device_->holdings();
  decode(prompt_, 4);
  EXPECT_EQ(device_->holdings(), before);
}

INSTANTIATE_TEST_SUITE_P(, Greedy, ::testing::ValuesIn(kWays),
                         [](const auto& info) { return std::string(name_of(info.param)); });

}  // namespace
}  // namespace m40llm::testing
