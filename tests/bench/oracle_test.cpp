// Reading the oracle's file: what is not as described is named with its place.
#include "bench/oracle.hpp"

#include <sys/stat.h>

#include <cstdlib>
#include <fstream>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "engine/error.hpp"

namespace m40llm::bench {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using Json = nlohmann::json;

class OracleTest : public testing::Test {
 protected:
  void SetUp() override {
    std::string name = testing::TempDir() + "m40llm-oracle-XXXXXX";
    ASSERT_NE(::mkdtemp(name.data()), nullptr);
    folder_ = name;
    file_ = folder_ / "oracle.json";
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }

  std::string message(const std::string& text) const {
    std::ofstream(file_, std::ios::binary) << text;
    try {
      read_oracle(file_);
    } catch (const Error& error) {
      return error.what();
    }
    return "no error";
  }

  std::filesystem::path folder_, file_;
};

Json good() {
  const Json step{{"ids", {7, 3}}, {"logits", {2.5, 1}}, {"log_sum_exp", 3.0}};
  return {{"prompts", {{{"text", "a"}, {"prompt_tokens", {1}}, {"tokens", {2}}, {"steps", {step, step}}}}}};
}

TEST_F(OracleTest, TheOnesKeptAreRead) {
  EXPECT_GE(read_oracle(M40LLM_TEST_DATA "/smollm2_oracle.json").size(), 3U);
  EXPECT_EQ(message(good().dump()), "no error");
}

TEST_F(OracleTest, WhatIsWrongIsNamedWithItsPlace) {
  const std::vector<std::tuple<const char*, Json, const char*>> wrong{
      {"/prompts", 3, "prompts is not a list"},
      {"/prompts/0", 3, "prompts[0] has no \"text\""},
      {"/prompts/0/text", 3, "prompts[0].text is not a string"},
      {"/prompts/0/tokens/0", 1e300, "prompts[0].tokens[0] is 1e+300; expected a token"},
      {"/prompts/0/tokens/0", -1, "tokens[0] is -1"},
      {"/prompts/0/tokens/0", 1LL << 31, "tokens[0] is 2147483648"},
      {"/prompts/0/tokens/0", 1.0, "tokens[0] is 1.0"},
      {"/prompts/0/tokens/0", "2", "tokens[0] is \"2\""},
      {"/prompts/0/prompt_tokens", Json::array(), "prompt_tokens are none"},
      {"/prompts/0/tokens", Json::array(), "2 steps for 1 and 0 tokens"},
      {"/prompts/0/steps/1/ids", {1}, "prompts[0].steps[1] has 1 ids and 2 logits"},
      {"/prompts/0/steps/1/ids/1", 1e300, "steps[1].ids[1]"},
      {"/prompts/0/steps/1/logits/0", 1e300, "steps[1].logits[0] is 1e+300"},
      {"/prompts/0/steps/1/logits/0", nullptr, "steps[1].logits[0] is null"},
      {"/prompts/0/steps/1/logits/0", 0.5, "steps[1].logits do not fall"},
      {"/prompts/0/steps/1/log_sum_exp", "x", "steps[1].log_sum_exp"}};
  for (const auto& [place, value, why] : wrong) {
    Json json = good();
    json[Json::json_pointer(place)] = value;
    EXPECT_THAT(message(json.dump()), AllOf(HasSubstr(file_.string()), HasSubstr(why))) << place;
  }
  for (const char* place : {"prompts", "prompts.0.text", "prompts.0.steps", "prompts.0.steps.0.ids",
                            "prompts.0.steps.0.logits"}) {
    Json json = good();
    std::string path = "/" + std::string(place);
    std::ranges::replace(path, '.', '/');
    const Json::json_pointer pointer(path);
    json.at(pointer.parent_pointer()).erase(pointer.back());
    EXPECT_THAT(message(json.dump()),
                AllOf(HasSubstr(file_.string()), HasSubstr("has no \"" + pointer.back())))
        << place;
  }
}

TEST_F(OracleTest, WhatIsNoJsonOrNoFileIsNamed) {
  for (const auto& [text, why] :
       {std::pair{std::string(), "not JSON"}, std::pair{std::string("x"), "not JSON"},
        std::pair{std::string("[]"), "has no \"prompts\""},
        std::pair{std::string(100000, '['), "nests brackets 100000 deep"},
        std::pair{std::string(R"({"prompts":1e999})"), "out of range"}})
    EXPECT_THAT(message(text), AllOf(HasSubstr(file_.string()), HasSubstr(why)));
  std::filesystem::remove(file_);
  ASSERT_EQ(::mkfifo(file_.c_str(), 0600), 0);
  EXPECT_THROW(read_oracle(file_), Error);  // and does not wait
  EXPECT_THROW(read_oracle("/dev/zero"), Error);
  EXPECT_THROW(read_oracle(folder_), Error);
}

}  // namespace
}  // namespace m40llm::bench
