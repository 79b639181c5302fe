/// Files that are almost an oracle's, through the reader and the comparison that uses it.
#include "bench/oracle.hpp"
#include "tests/fuzz/json_mutations.hpp"

namespace m40llm::bench {
namespace {

TEST(OracleFuzz, EveryFileIsReadOrRefused) {
  const std::uint64_t inputs = fuzz::from_environment("M40LLM_FUZZ_INPUTS", 20000);
  fuzz::Mutator mutate(fuzz::from_environment("M40LLM_FUZZ_SEED", 1));
  const nlohmann::json step{
      {"position", 0}, {"ids", {7, 3, 1}}, {"logits", {2.5, 1, -4}}, {"log_sum_exp", 3.0}};
  const nlohmann::json prompt{
      {"text", "a"}, {"prompt_tokens", {1}}, {"tokens", {2}}, {"steps", {step, step}}};
  nlohmann::json other = prompt;
  other["text"] = "b";
  const nlohmann::json whole{{"made_by", "x"}, {"prompts", {prompt, other}}};
  const std::vector<float> logits{1, -4, 0, 1, 0, 0, 0, 2.5};
  const fuzz::MemoryFile file;
  std::size_t taken = 0;
  for (std::uint64_t i = 0; i < inputs && !testing::Test::HasFailure(); ++i) {
    nlohmann::json json = whole;
    for (std::size_t n = mutate.below(3); n > 0; --n) mutate.change_value(json);
    std::string text = json.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
    for (std::size_t n = mutate.below(3); n > 0; --n) mutate.change_bytes(text);
    file.write(text);
    fuzz::expect_read_or_refused(
        file.path,
        [&] {
          for (const OraclePrompt& p : read_oracle(file.path)) {
            EXPECT_EQ(p.steps.size(), p.prompt_tokens.size() + p.tokens.size());
            OracleComparison comparison;
            for (const OracleStep& s : p.steps) comparison.add(s, logits, kOracleLimit);
          }
        },
        taken);
    if (testing::Test::HasFailure())
      std::fprintf(stderr, "input %llu:\n%s\n", static_cast<unsigned long long>(i), text.c_str());
  }
  std::printf("oracle: %llu inputs, %zu read, the rest refused\n", static_cast<unsigned long long>(inputs),
              taken);
  EXPECT_GT(taken, inputs / 20);
  EXPECT_LT(taken, inputs / 2);
}

}  // namespace
}  // namespace m40llm::bench
