#include "engine/decode/find_not_finite.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <limits>

#include "engine/decode/greedy.hpp"
#include "engine/device/open.hpp"
#include "engine/device/simt/simt_device.hpp"
#include "engine/ops/kv_append.hpp"
#include "tests/model/model_file.hpp"

extern "C" void kv_append(KvAppendParams);

namespace m40llm::testing {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::StartsWith;

constexpr double kNan = std::numeric_limits<double>::quiet_NaN();
constexpr double kInfinity = std::numeric_limits<double>::infinity();

/// A model on a SIMT device of its own.
struct Loaded {
  explicit Loaded(const ModelFile& model)
      : file(model), device(open_device({.device = "simt"})), stream(device->create_stream()) {
    llama.emplace(*device, *stream, file.file, 16);
  }
  OpenModelFile file;
  std::unique_ptr<Device> device;
  std::unique_ptr<Stream> stream;
  std::optional<Llama> llama;

  /// The steps told of, and the message of the one that was not finite.
  std::pair<std::vector<DecodeStep>, std::string> decode(const std::vector<int>& prompt, int n_tokens) {
    std::vector<DecodeStep> steps;
    try {
      decode_greedy(
          *device, *stream, *llama, prompt, n_tokens, Way::separate, [](int) { return false; },
          [&](const DecodeStep& step) {
            steps.push_back(step);
            return true;
          });
    } catch (const NotFinite& error) {
      EXPECT_EQ(error.position, static_cast<int>(steps.size()));
      return {steps, error.what()};
    }
    return {steps, ""};
  }
};

ModelFile with_first(const std::string& tensor, double value, const ModelFile::Shape& shape = {}) {
  ModelFile model(shape);
  model.tensors.at(tensor).planted = {0, value};
  return model;
}

struct Planted {
  const char* tensor;
  double first;
  const char* found;  ///< what the first op that is not finite is called
};
void PrintTo(const Planted& planted, std::ostream* out) { *out << planted.tensor << " " << planted.first; }

class NotFiniteWeights : public ::testing::TestWithParam<Planted> {};

TEST_P(NotFiniteWeights, GiveNoTokenAndTheirOpIsNamed) {
  Loaded loaded(with_first(GetParam().tensor, GetParam().first, {.tied = false}));
  const auto [steps, message] = loaded.decode({0, 1}, 3);
  EXPECT_TRUE(steps.empty());
  EXPECT_THAT(message, StartsWith("position 0 (fed token 0): the logit of token 0 is "));
  EXPECT_THAT(message, ::testing::AnyOf(HasSubstr("nan"), HasSubstr("inf")));
  EXPECT_THAT(find_not_finite(*loaded.stream, *loaded.llama, 0, 0).value_or(""),
              StartsWith(GetParam().found));
}

INSTANTIATE_TEST_SUITE_P(
    , NotFiniteWeights,
    ::testing::Values(Planted{"token_embd.weight", kNan, "embedding: element 0 is nan"},
                      Planted{"token_embd.weight", -kInfinity, "embedding: element 0 is -inf"},
                      Planted{"blk.0.attn_norm.weight", kNan, "layer 0: attention norm: element 0 is nan"},
                      Planted{"blk.0.attn_q.weight", kNan, "layer 0: Q: element 0 is nan"},
                      Planted{"blk.0.attn_k.weight", kNan, "layer 0: K: element 0 is nan"},
                      Planted{"blk.1.attn_v.weight", kNan, "layer 1: V: element 0 is nan"},
                      Planted{"blk.1.attn_output.weight", kNan,
                              "layer 1: attention output: element 0 is nan"},
                      Planted{"blk.1.ffn_norm.weight", kInfinity, "layer 1: ffn norm: element 0 is "},
                      Planted{"blk.0.ffn_gate.weight", kNan, "layer 0: gate: element 0 is nan"},
                      Planted{"blk.1.ffn_up.weight", kNan, "layer 1: up: element 0 is nan"},
                      Planted{"blk.1.ffn_down.weight", kNan, "layer 1: down: element 0 is nan"},
                      Planted{"output_norm.weight", kNan, "output norm: element 0 is nan"},
                      Planted{"output.weight", kNan, "logits: element 0 is nan"}));

TEST(FindNotFinite, FindsNothingInAModelThatIsFinite) {
  Loaded loaded{ModelFile()};
  const auto [steps, message] = loaded.decode({3, 1, 4}, 3);
  EXPECT_EQ(message, "");
  EXPECT_EQ(find_not_finite(*loaded.stream, *loaded.llama, steps.back().token, 4), std::nullopt);
  EXPECT_EQ(find_not_finite_in_cache(*loaded.stream, *loaded.llama, 5), std::nullopt);
  // What no step has filled yet is not looked at.
  EXPECT_EQ(find_not_finite_in_cache(*loaded.stream, *loaded.llama, 0), std::nullopt);
}

TEST(FindNotFinite, TakesTheSameStepAgain) {
  Loaded loaded{ModelFile()};
  const auto [steps, message] = loaded.decode({3, 1, 4}, 3);
  const std::vector<float> logits = loaded.llama->logits().download(*loaded.stream);
  find_not_finite(*loaded.stream, *loaded.llama, steps.back().token, 4);
  EXPECT_EQ(loaded.llama->logits().download(*loaded.stream), logits);
}

TEST(FindNotFinite, KAndVBeyondBinary16) {
  for (const auto& [tensor, found] :
       {std::pair("blk.1.attn_k.weight", "layer 1: kv append: K of position 0, "),
        std::pair("blk.1.attn_v.weight", "layer 1: kv append: V of position 0, ")}) {
    ModelFile model;
    model.tensors.at(tensor).scale = 1e4;  // of the weights: K and V some ten times that
    Loaded loaded(model);
    const auto [steps, message] = loaded.decode({0, 1}, 3);
    EXPECT_TRUE(steps.empty());
    EXPECT_THAT(message, StartsWith("position 0"));
    const std::string named = find_not_finite(*loaded.stream, *loaded.llama, 0, 0).value_or("");
    EXPECT_THAT(named, StartsWith(found));
    EXPECT_THAT(named, HasSubstr("inf (FP16 ends at 65504)"));
    EXPECT_EQ(find_not_finite_in_cache(*loaded.stream, *loaded.llama, 1), named);
  }
}

/// Appends, and makes one element of K at position 1 of layer 0 infinite.
int planted_element = 0;
float planted_value = 0;
half* planted_cache = nullptr;
void append_and_plant(KvAppendParams p) {
  kv_append(p);
  if (p.cache.k == planted_cache && *p.position == 1)
    p.cache.k[p.cache.position_stride + planted_element].bits = planted_value > 0 ? 0x7c00 : 0xfc00;
}

TEST(FindNotFinite, AKThatDoesNotReachTheLogits) {
  Loaded loaded{ModelFile()};
  planted_cache = loaded.llama->kv_cache().view(0).k;
  int hidden = 0;
  for (planted_element = 0; planted_element < 32; ++planted_element) {
    for (const float value : {1.f, -1.f}) {
      planted_value = value;
      substitute_kernel("kv_append", reinterpret_cast<void (*)()>(append_and_plant));
      const auto [steps, message] = loaded.decode({3, 1}, 1);
      substitute_kernel("kv_append", nullptr);
      if (!message.empty()) {
        EXPECT_THAT(message, StartsWith("position 1 "));
        continue;
      }
      // A score of minus infinity: as if the position were not there.
      ++hidden;
      EXPECT_EQ(steps.size(), 2U);
      EXPECT_EQ(find_not_finite_in_cache(*loaded.stream, *loaded.llama, 2),
                "layer 0: kv append: K of position 1, KV head " + std::to_string(planted_element / 16) +
                    ", element " + std::to_string(planted_element % 16) + " is " +
                    (value > 0 ? "inf" : "-inf") + " (FP16 ends at 65504)");
    }
  }
  EXPECT_GT(hidden, 0);
  EXPECT_LT(hidden, 64);
}

TEST(NotFinite, AtAnyStep) {
  // Of the token that the prompt's second step feeds, and of one that is only generated.
  Loaded sound(ModelFile({.tied = false}));
  const auto [steps, none] = sound.decode({3, 1, 4}, 6);
  ASSERT_EQ(steps.size(), 8U);
  for (std::size_t at : {std::size_t{1}, std::size_t{3}}) {
    const int token = steps[at].token;
    std::size_t first = 0;
    while (steps[first].token != token) ++first;
    ModelFile model({.tied = false});
    ModelFile::Tensor& table = model.tensors.at("token_embd.weight");
    const std::uint64_t blocks_a_row = table.shape[0] / gguf::block_elements(table.type);
    table.planted = {static_cast<std::uint64_t>(token) * blocks_a_row, kNan};
    Loaded loaded(model);
    const auto [until, message] = loaded.decode({3, 1, 4}, 6);
    ASSERT_EQ(until.size(), first);
    for (std::size_t i = 0; i < first; ++i) EXPECT_EQ(until[i].next, steps[i].next);
    EXPECT_THAT(message, StartsWith("position " + std::to_string(first) + " (fed token " +
                                    std::to_string(token) + "): the logit of token 0 is nan"));
  }
}

}  // namespace
}  // namespace m40llm::testing
