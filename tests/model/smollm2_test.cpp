// SmolLM2-135M-Instruct (the file of tests/data/README.md, named by M40LLM_MODEL) along the first prompt of
// the oracle: the SIMT device against the reference and the oracle, and the reference against the oracle.
#include <gtest/gtest.h>

#include <cmath>
#include <cstdlib>
#include <functional>
#include <future>
#include <optional>

#include "bench/oracle.hpp"
#include "engine/device/open.hpp"
#include "tests/model/reference_weights.hpp"
#include "tests/model/whole_model.hpp"

namespace m40llm::testing {
namespace {

using bench::OracleComparison;
using bench::OracleStep;

class SmolLM2 : public ::testing::Test {
 protected:
  void SetUp() override {
    const char* const path = std::getenv("M40LLM_MODEL");
    if (path == nullptr || *path == '\0') GTEST_SKIP() << "M40LLM_MODEL does not name the model's GGUF file";
    file_ = gguf::File::open(path);
    const bench::OraclePrompt rounded = bench::read_oracle(M40LLM_TEST_DATA "/smollm2_oracle.json").front();
    const bench::OraclePrompt unrounded =
        bench::read_oracle(M40LLM_TEST_DATA "/smollm2_oracle_unrounded.json").front();
    ASSERT_EQ(rounded.prompt_tokens, unrounded.prompt_tokens);
    ASSERT_EQ(rounded.tokens, unrounded.tokens);
    steps_ = rounded.steps;
    unrounded_steps_ = unrounded.steps;
    tokens_ = rounded.prompt_tokens;
    tokens_.insert(tokens_.end(), rounded.tokens.begin(), rounded.tokens.end());
  }

  const gguf::File& file() const { return *file_; }

  std::vector<OracleStep> steps_;            // with K and V in binary16, as on the device
  std::vector<OracleStep> unrounded_steps_;  // with K and V as they are
  std::vector<int> tokens_;

 private:
  std::optional<gguf::File> file_;
};

/// At least kOracleDecidable of the steps decide.
void expect_decidable(const OracleComparison& c) {
  EXPECT_GE(static_cast<double>(c.decidable_steps), bench::kOracleDecidable * static_cast<double>(c.steps));
}

TEST_F(SmolLM2, PassesTheGatesOnTheSimtDevice) {
  const auto device = open_device({.device = "simt"});
  const auto stream = device->create_stream();
  Llama model(*device, *stream, file(), static_cast<int>(tokens_.size()));
  const DeviceRun run = testing::run(*stream, model, tokens_);

  OracleComparison oracle;
  for (std::size_t step = 0; step < steps_.size(); ++step)
    oracle.add(steps_[step], run.logits[step], bench::kOracleLimit);
  EXPECT_LE(oracle.largest_difference, bench::kOracleLimit);
  EXPECT_EQ(oracle.same_argmax, oracle.decidable_steps);
  expect_decidable(oracle);

  const auto exact = reference_weights<double>(file());
  const auto rounded = reference_weights<float>(file());
  const References from_inputs = references_along(run, exact, rounded, Inputs::device);
  const KvVerdict kv = judge_kv(run, from_inputs);
  EXPECT_EQ(kv.wrong, 0U) << "of " << kv.values;
  const Ratios layers = error_ratios(run, from_inputs);
  EXPECT_LE(layers.worst(), kLargestRatio);
  const Ratios drift = error_ratios(run, references_along(run, exact, rounded, Inputs::device_cache));
  EXPECT_LE(drift.worst(), kLargestRatio);
  // On their own, with K and V rounded here and there otherwise, only the whole run gives a figure that
  // honest orders of summation agree on: within 1.5 of each other. Of single layers they differ by up to 4.
  const Ratios free_drift = error_ratios(run, references_along(run, exact, rounded, Inputs::own));
  EXPECT_LE(free_drift.run, kLargestRatio);

  RecordProperty("oracle_difference", std::to_string(oracle.largest_difference));
  RecordProperty("decidable_steps", std::to_string(oracle.decidable_steps));
  RecordProperty("kv_values", std::to_string(kv.values));
  RecordProperty("kv_other_neighbour", std::to_string(kv.other_neighbour));
  RecordProperty("largest_layer_ratio", std::to_string(layers.worst()));
  RecordProperty("logits_ratio", std::to_string(layers.layers.back()));
  RecordProperty("largest_drift_ratio", std::to_string(drift.worst()));
  RecordProperty("free_drift_ratio", std::to_string(free_drift.run));
}

/// Makes the logits of a step from its token.
template <class S>
using Forward = std::function<reference::Vector<S>(int token)>;

template <class S>
OracleComparison compare(std::span<const OracleStep> steps, std::span<const int> tokens,
                         const Forward<S>& forward) {
  OracleComparison comparison;
  for (std::size_t step = 0; step < steps.size(); ++step) {
    const reference::Vector<S> logits = forward(tokens[step]);
    const reference::Vector<float> rounded = logits.template cast<float>();
    comparison.add(steps[step], {rounded.data(), static_cast<std::size_t>(rounded.size())},
                   bench::kExactOracleLimit);
  }
  return comparison;
}

template <class S>
OracleComparison compare(std::span<const OracleStep> steps, std::span<const int> tokens,
                         const reference::Weights<S>& weights,
                         const reference::KvStorage<S>& storage = reference::kv_unrounded<S>) {
  reference::Llama<S> model(weights, static_cast<int>(steps.size()), reference::Order::eigen, storage);
  return compare<S>(steps, tokens, [&](int token) { return model.forward(token); });
}

TEST_F(SmolLM2, ReferenceAgreesWithTheOracle) {
  auto in_double = std::async(std::launch::async, [&] {
    return compare<double>(unrounded_steps_, tokens_, reference_weights<double>(file()));
  });
  const OracleComparison in_float =
      compare<float>(unrounded_steps_, tokens_, reference_weights<float>(file()));
  const OracleComparison exact = in_double.get();
  for (const OracleComparison& c : {in_float, exact}) {
    EXPECT_LE(c.largest_difference, bench::kExactOracleLimit);
    EXPECT_EQ(c.same_argmax, c.decidable_steps);
    expect_decidable(c);
  }
  RecordProperty("float_difference", std::to_string(in_float.largest_difference));
  RecordProperty("double_difference", std::to_string(exact.largest_difference));
}

/// The comparison with the oracle sees each of these within a few steps: it would see them in the reference,
/// which judges all else.
TEST_F(SmolLM2, OracleFindsFaultsOfTheReference) {
  const std::span<const OracleStep> steps = std::span(unrounded_steps_).first(6);
  auto weights = reference_weights<float>(file());
  ASSERT_TRUE(compare<float>(steps, tokens_, weights).passed(bench::kExactOracleLimit));
  const auto expect_found = [&](const char* fault, const OracleComparison& c) {
    EXPECT_FALSE(c.passed(bench::kExactOracleLimit)) << fault;
    RecordProperty(fault, std::to_string(c.largest_difference));
  };

  const reference::Hyperparameters right = weights.shape;
  weights.shape.eps = 1e-6;
  expect_found("eps_1e-6", compare<float>(steps, tokens_, weights));
  weights.shape = right;
  weights.shape.rope_base *= 1.01;
  expect_found("rope_base_off_1_percent", compare<float>(steps, tokens_, weights));
  weights.shape = right;
  weights.shape.rope_pairs = reference::RopePairs::neox;
  expect_found("neox_pairs", compare<float>(steps, tokens_, weights));
  weights.shape = right;

  // Positions from 1 on: all heads also see an empty position 0. The rotation alone does not depend on where
  // it starts.
  const int n_layers = static_cast<int>(weights.layers.size());
  reference::Llama<float> shifted(weights, static_cast<int>(steps.size()) + 1, reference::Order::eigen,
                                  reference::kv_unrounded<float>);
  int position = 0;
  expect_found("positions_from_1", compare<float>(steps, tokens_, [&](int token) {
                 ++position;
                 reference::Vector<float> x = reference::embedding<float>(weights.embedding, token);
                 for (int layer = 0; layer < n_layers; ++layer) x = shifted.layer(layer, position, x);
                 return shifted.logits(x);
               }));

  // What the device's reference does, and why the device has a limit of its own.
  expect_found("kv_in_binary16", compare<float>(steps, tokens_, weights, reference::kv_in_binary16<float>));

  weights.layers[17].attention_output.col(100).setZero();
  expect_found("one_column_of_one_matrix_dropped", compare<float>(steps, tokens_, weights));
}

}  // namespace
}  // namespace m40llm::testing
