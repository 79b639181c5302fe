// What the gates of the whole model see by themselves: with one fault planted in a kernel, the model's logits must
// leave the oracle's limits, or its hidden states drift.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <iostream>

#include "bench/oracle.hpp"
#include "engine/device/open.hpp"
#include "engine/model/llama.hpp"
#include "tests/model/reference_weights.hpp"
#include "tests/model/whole_model.hpp"
#include "tests/mutations/mutant.hpp"

namespace m40llm::testing {
namespace {

Mutant mutant(const std::string& name) {
  const std::vector<Mutant> all = mutants();
  const auto found = std::ranges::find(all, name, &Mutant::name);
  if (found == all.end()) throw std::invalid_argument("mutations.toml has no " + name);
  return *found;
}

/// SmolLM2 along one of the oracle's prompts.
class SmolLM2Along {
 public:
  explicit SmolLM2Along(std::size_t prompt)
      : file(gguf::File::open(std::getenv("M40LLM_MODEL"))),
        oracle(bench::read_oracle(M40LLM_TEST_DATA "/smollm2_oracle.json").at(prompt)),
        tokens(oracle.prompt_tokens),
        device(open_device({.device = "simt"})),
        stream(device->create_stream()),
        model(*device, *stream, file, static_cast<int>(oracle.steps.size())) {
    tokens.insert(tokens.end(), oracle.tokens.begin(), oracle.tokens.end());
  }

  gguf::File file;
  bench::OraclePrompt oracle;
  std::vector<int> tokens;
  std::unique_ptr<Device> device;
  std::unique_ptr<Stream> stream;
  Llama model;
};

bool no_model() {
  const char* const path = std::getenv("M40LLM_MODEL");
  return path == nullptr || *path == '\0';
}

/// A planted fault, and the prompt and the number of its steps in which the oracle must see it.
struct Fault {
  const char* mutant;
  std::size_t prompt;
  std::size_t n_steps;
};

class Oracle : public ::testing::TestWithParam<Fault> {};

TEST_P(Oracle, Sees) {
  if (no_model()) GTEST_SKIP() << "M40LLM_MODEL does not name the model's GGUF file";
  SmolLM2Along run(GetParam().prompt);
  const Mutant planted = mutant(GetParam().mutant);
  const Substituted substituted(planted);
  bench::OracleComparison comparison;
  do {
    const std::size_t step = comparison.steps;
    run.model.forward(*run.stream, run.tokens.at(step), static_cast<int>(step));
    comparison.add(run.oracle.steps.at(step), run.model.logits().download(*run.stream), bench::kOracleLimit);
  } while (comparison.passed(bench::kOracleLimit) && comparison.steps < GetParam().n_steps);
  EXPECT_FALSE(comparison.passed(bench::kOracleLimit));
  std::cout << "after " << comparison.steps << " steps: " << comparison.largest_difference << " of "
            << bench::kOracleLimit << ", at the first position " << comparison.first_difference << " of "
            << bench::kExactOracleLimit << "\n";
}

// The last is seen only behind the first 128 positions.
INSTANTIATE_TEST_SUITE_P(Faults, Oracle,
                         ::testing::Values(Fault{"rms_norm_eps_outside_the_root", 0, 1},
                                           Fault{"rms_norm_rough_reciprocal_root", 0, 1},
                                           Fault{"attention_split_stops_at_128", 3, 140}),
                         [](const auto& info) { return info.param.mutant; });

/// What the oracle cannot see: q rounded to binary16 differs as much as honest engines do that round a K to different
/// neighbours. The drift from float64 with the device's own K and V in every cache sees it at eight times its limit.
TEST(Drift, SeesQueriesInHalf) {
  if (no_model()) GTEST_SKIP() << "M40LLM_MODEL does not name the model's GGUF file";
  constexpr std::size_t kSteps = 4;
  SmolLM2Along run(0);
  const Mutant planted = mutant("attention_split_half_query");
  const Substituted substituted(planted);
  const DeviceRun device = testing::run(*run.stream, run.model, std::span(run.tokens).first(kSteps));
  const Ratios drift =
      error_ratios(device, references_along(device, reference_weights<double>(run.file),
                                            reference_weights<float>(run.file), Inputs::device_cache));
  EXPECT_GT(drift.worst(), kLargestRatio);
  std::cout << "drift " << drift.worst() << " of " << kLargestRatio << "\n";
}

}  // namespace
}  // namespace m40llm::testing
