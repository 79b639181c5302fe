#include "engine/model/hparams.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>

#include "engine/device/open.hpp"
#include "engine/error.hpp"
#include "engine/model/llama.hpp"
#include "tests/model/model_file.hpp"

namespace m40llm::testing {
namespace {

using ::testing::AllOf;
using ::testing::EndsWith;
using ::testing::HasSubstr;
using ::testing::StartsWith;

/// What the Error says that call throws; empty without one.
template <class Call>
std::string message_of(Call&& call) {
  try {
    call();
  } catch (const Error& error) {
    return error.what();
  }
  return {};
}

TEST(Hparams, AreTheFiles) {
  const OpenModelFile model{ModelFile()};
  const Hparams h = read_hparams(model.file);
  EXPECT_EQ(h.n_layers, 2);
  EXPECT_EQ(h.n_context, 48);
  EXPECT_EQ(h.width, 64);
  EXPECT_EQ(h.n_ffn, 96);
  EXPECT_EQ(h.n_heads, 4);
  EXPECT_EQ(h.n_kv_heads, 2);
  EXPECT_EQ(h.head_dim, 16);
  EXPECT_EQ(h.n_rotated, 12);
  EXPECT_EQ(h.n_vocab, 67);
  EXPECT_EQ(h.eps, 3e-3f);
  EXPECT_EQ(h.rope_base, 500.f);
}

TEST(Hparams, MayBeLeftOutWhereTheFormatHasADefault) {
  ModelFile model({.n_kv_heads = 4, .n_rotated = 16});
  for (const char* key : {"attention.head_count_kv", "attention.key_length", "attention.value_length",
                          "rope.dimension_count", "rope.freq_base"}) {
    ASSERT_EQ(model.metadata.erase(std::string("llama.") + key), 1U) << key;
  }
  const Hparams h = read_hparams(OpenModelFile(model).file);
  EXPECT_EQ(h.n_kv_heads, 4);
  EXPECT_EQ(h.head_dim, 16);
  EXPECT_EQ(h.n_rotated, 16);
  EXPECT_EQ(h.rope_base, 10000.f);
}

TEST(Hparams, AcceptWhatSaysThatSomethingIsNotUsed) {
  ModelFile model;
  model.metadata["llama.rope.scaling.type"] = "none";
  model.metadata["llama.rope.scaling.factor"] = 1.f;
  model.metadata["llama.expert_count"] = 0u;
  EXPECT_EQ(read_hparams(OpenModelFile(model).file).n_layers, 2);
}

/// A file that is wrong in one thing, and what the message must name: the thing, its value, what was
/// expected.
struct BadFile {
  const char* name;
  std::function<void(ModelFile&)> spoil;
  std::vector<std::string> says;
};

void PrintTo(const BadFile& bad, std::ostream* out) { *out << bad.name; }

class BadHparams : public ::testing::TestWithParam<BadFile> {};

TEST_P(BadHparams, AreRefused) {
  ModelFile model;
  GetParam().spoil(model);
  const OpenModelFile open(model);
  const std::string message = message_of([&] { read_hparams(open.file); });
  EXPECT_THAT(message, HasSubstr(open.file.path().string()));
  for (const std::string& part : GetParam().says) EXPECT_THAT(message, HasSubstr(part));

  // The model refuses it for the same reason, before it takes memory of the device.
  const auto device = open_device({.device = "simt"});
  const auto stream = device->create_stream();
  EXPECT_EQ(message_of([&] { Llama(*device, *stream, open.file, 1); }), message);
  EXPECT_EQ(device->counters().allocations, 0U);
}

BadFile without(const char* key) {
  return {key, [=](ModelFile& m) { m.metadata.erase(key); }, {key}};
}

BadFile with(const char* name, const char* key, ModelFile::Value value, std::vector<std::string> says) {
  says.emplace_back(key);
  return {name, [=](ModelFile& m) { m.metadata[key] = value; }, std::move(says)};
}

BadFile without_tensor(const char* tensor) {
  return {tensor, [=](ModelFile& m) { m.tensors.erase(tensor); }, {tensor}};
}

/// One row more, or one column, than the other tensors say.
BadFile larger(const char* tensor, std::size_t extent) {
  return {tensor, [=](ModelFile& m) { m.tensors.at(tensor).shape[extent] += 32; }, {tensor, "expected"}};
}

BadFile of_type(const char* tensor, gguf::TensorType type, const char* is, const char* expected) {
  return {tensor, [=](ModelFile& m) { m.tensors.at(tensor).type = type; }, {tensor, is, expected}};
}

std::string test_name(const ::testing::TestParamInfo<BadFile>& info) {
  std::string name = std::to_string(info.index) + "_" + info.param.name;
  for (char& c : name) {
    if (std::isalnum(static_cast<unsigned char>(c)) == 0) c = '_';
  }
  return name;
}

INSTANTIATE_TEST_SUITE_P(MissingKey, BadHparams,
                         ::testing::Values(without("general.architecture"), without("llama.block_count"),
                                           without("llama.context_length"), without("llama.embedding_length"),
                                           without("llama.feed_forward_length"),
                                           without("llama.attention.head_count"),
                                           without("llama.attention.layer_norm_rms_epsilon")),
                         test_name);

INSTANTIATE_TEST_SUITE_P(
    Value, BadHparams,
    ::testing::Values(
        with("architecture", "general.architecture", "gemma3", {"'gemma3'", "'llama' or 'qwen2'"}),
        with("adapter", "general.type", "adapter", {"'adapter'", "expected 'model'"}),
        with("architecture_that_a_terminal_obeys", "general.architecture", "\x1b[2J",
             {"'\\x1b[2J'", "'llama'"}),
        with("scaling_that_a_terminal_obeys", "llama.rope.scaling.type", "\x1b[2J", {"'\\x1b[2J'"}),
        with("no_layers", "llama.block_count", 0u, {"is 0", "1 to 1024"}),
        with("layers", "llama.block_count", 1025u, {"is 1025", "1 to 1024"}),
        with("no_context", "llama.context_length", 0u, {"is 0", "1 to 4194304"}),
        with("context", "llama.context_length", 4194305u, {"is 4194305", "1 to 4194304"}),
        with("no_width", "llama.embedding_length", 0u, {"is 0", "1 to 131072"}),
        with("width", "llama.embedding_length", 131073u, {"is 131073", "1 to 131072"}),
        with("no_ffn", "llama.feed_forward_length", 0u, {"is 0", "1 to 262144"}),
        with("ffn", "llama.feed_forward_length", 262145u, {"is 262145", "1 to 262144"}),
        with("no_heads", "llama.attention.head_count", 0u, {"is 0", "1 to 1024"}),
        with("heads", "llama.attention.head_count", 1025u, {"is 1025", "1 to 1024"}),
        with("heads_as_text", "llama.attention.head_count", "4", {"string"}),
        with("no_kv_heads", "llama.attention.head_count_kv", 0u, {"is 0", "1 to 4"}),
        with("more_kv_heads_than_heads", "llama.attention.head_count_kv", 8u, {"is 8", "1 to 4"}),
        with("kv_heads_that_do_not_divide", "llama.attention.head_count_kv", 3u,
             {"is 3", "divisor of the 4 heads"}),
        with("short_heads", "llama.attention.key_length", 4u, {"is 4", "8 to 256"}),
        with("long_heads", "llama.attention.key_length", 264u, {"is 264", "8 to 256"}),
        with("values_of_another_length", "llama.attention.value_length", 8u, {"is 8", "expected 16"}),
        with("nothing_rotated", "llama.rope.dimension_count", 0u, {"is 0", "2 to 16"}),
        with("more_rotated_than_a_head_has", "llama.rope.dimension_count", 18u, {"is 18", "2 to 16"}),
        with("odd_rotated", "llama.rope.dimension_count", 11u, {"is 11", "even"}),
        with("no_eps", "llama.attention.layer_norm_rms_epsilon", 0.f, {"is 0", "expected"}),
        with("negative_eps", "llama.attention.layer_norm_rms_epsilon", -1e-5f, {"is -", "expected"}),
        with("eps", "llama.attention.layer_norm_rms_epsilon", 1.f, {"is 1", "expected"}),
        with("nan_eps", "llama.attention.layer_norm_rms_epsilon", NAN, {"nan", "expected"}),
        with("base", "llama.rope.freq_base", 0.5f, {"is 0.5", "at least 1"}),
        with("infinite_base", "llama.rope.freq_base", INFINITY, {"inf", "at least 1"}),
        with("scaled_rope", "llama.rope.scaling.type", "linear", {"'linear'", "'none'"}),
        with("scaled_rope_without_a_type", "llama.rope.scaling.factor", 4.f, {"is 4", "expected 1"}),
        with("scaled_rope_of_another_length", "llama.rope.scaling.attn_factor", 2.f, {"is 2", "expected 1"}),
        with("scaled_rope_of_older_files", "llama.rope.scale_linear", 4.f, {"is 4", "expected 1"}),
        with("part", "split.count", 2u, {"is part 1 of 2"}),
        with("experts", "llama.expert_count", 8u, {"is 8", "expected 0"})),
    test_name);

INSTANTIATE_TEST_SUITE_P(Heads, BadHparams,
                         ::testing::Values(BadFile{"no_multiple_of_8",
                                                   [](ModelFile& m) {
                                                     m.metadata["llama.attention.key_length"] = 12u;
                                                     m.metadata["llama.attention.value_length"] = 12u;
                                                   },
                                                   {"heads of 12 dimensions", "multiple of 8"}},
                                           BadFile{"width_that_heads_do_not_divide",
                                                   [](ModelFile& m) {
                                                     m.metadata.erase("llama.attention.key_length");
                                                     m.metadata.erase("llama.attention.value_length");
                                                     m.metadata["llama.attention.head_count"] = 3u;
                                                     m.metadata["llama.attention.head_count_kv"] = 3u;
                                                   },
                                                   {"heads of 21 dimensions", "multiple of 8"}}),
                         test_name);

INSTANTIATE_TEST_SUITE_P(
    MissingTensor, BadHparams,
    ::testing::Values(without_tensor("token_embd.weight"), without_tensor("output_norm.weight"),
                      without_tensor("blk.1.attn_norm.weight"), without_tensor("blk.1.attn_q.weight"),
                      without_tensor("blk.1.attn_k.weight"), without_tensor("blk.1.attn_v.weight"),
                      without_tensor("blk.1.attn_output.weight"), without_tensor("blk.1.ffn_norm.weight"),
                      without_tensor("blk.1.ffn_gate.weight"), without_tensor("blk.1.ffn_up.weight"),
                      without_tensor("blk.1.ffn_down.weight")),
    test_name);

INSTANTIATE_TEST_SUITE_P(
    Shape, BadHparams,
    ::testing::Values(larger("token_embd.weight", 0), larger("output_norm.weight", 0),
                      larger("blk.1.attn_norm.weight", 0), larger("blk.1.attn_q.weight", 0),
                      larger("blk.1.attn_q.weight", 1), larger("blk.1.attn_k.weight", 1),
                      larger("blk.1.attn_v.weight", 1), larger("blk.1.attn_output.weight", 0),
                      larger("blk.1.attn_output.weight", 1), larger("blk.1.ffn_norm.weight", 0),
                      larger("blk.1.ffn_gate.weight", 1), larger("blk.1.ffn_up.weight", 1),
                      larger("blk.1.ffn_down.weight", 0), larger("blk.1.ffn_down.weight", 1),
                      BadFile{"one_dimensional_embedding",
                              [](ModelFile& m) { m.tensors.at("token_embd.weight").shape = {64}; },
                              {"token_embd.weight", "expected"}},
                      BadFile{"three_dimensions",
                              [](ModelFile& m) {
                                m.tensors.at("blk.0.ffn_up.weight").shape = {64, 96, 1};
                              },
                              {"blk.0.ffn_up.weight", "64 x 96 x 1", "expected 64 x 96"}},
                      BadFile{"other_vocabulary_of_the_output",
                              [](ModelFile& m) {
                                m.tensors["output.weight"] = {{64, 66}, gguf::TensorType::f32, 0, 1};
                              },
                              {"output.weight", "64 x 66", "expected 64 x 67"}}),
    test_name);

INSTANTIATE_TEST_SUITE_P(
    Type, BadHparams,
    ::testing::Values(of_type("blk.0.attn_q.weight", gguf::TensorType::q5_0, "Q5_0 (6)",
                              "expected F32, F16, BF16, Q8_0, Q4_1, Q4_0, Q4_K, Q5_K or Q6_K"),
                      of_type("token_embd.weight", gguf::TensorType::mxfp4, "MXFP4 (39)",
                              "expected F32, F16, BF16, Q8_0, Q4_1, Q4_0, Q4_K, Q5_K or Q6_K"),
                      of_type("blk.1.ffn_down.weight", gguf::TensorType::q5_1, "Q5_1", "expected F32, F16"),
                      of_type("token_embd.weight", gguf::TensorType::f64, "F64", "expected F32, F16"),
                      of_type("blk.0.attn_norm.weight", gguf::TensorType::f16, "F16", "expected F32"),
                      of_type("output_norm.weight", gguf::TensorType::q8_0, "Q8_0", "expected F32")),
    test_name);

/// A tensor that changes what the model computes and that the engine would pass over.
BadFile unknown_tensor(const char* tensor, std::uint64_t elements) {
  return {tensor,
          [=](ModelFile& m) {
            m.tensors[tensor] = {{elements}, gguf::TensorType::f32, 0, 1};
          },
          {tensor, "not supported"}};
}

INSTANTIATE_TEST_SUITE_P(
    UnusedTensor, BadHparams,
    ::testing::Values(unknown_tensor("blk.1.attn_q.bias", 64), unknown_tensor("blk.1.attn_k.bias", 32),
                      unknown_tensor("blk.1.attn_v.bias", 32), unknown_tensor("blk.1.attn_output.bias", 64),
                      unknown_tensor("blk.1.ffn_gate.bias", 96), unknown_tensor("blk.1.ffn_up.bias", 96),
                      unknown_tensor("blk.1.ffn_down.bias", 64), unknown_tensor("output.bias", 67),
                      unknown_tensor("blk.0.attn_q_norm.weight", 16)),
    test_name);

TEST(Hparams, OfQwen2HaveItsKeysAndNeedItsBiases) {
  ModelFile model({.architecture = "qwen2"});
  const OpenModelFile whole(model);
  const Hparams h = read_hparams(whole.file);
  EXPECT_EQ(h.architecture, find_architecture("qwen2"));
  EXPECT_EQ(h.n_rotated, 12);
  for (const char* name : {"blk.1.attn_q.bias", "blk.0.attn_k.bias", "blk.1.attn_v.bias"}) {
    ModelFile without = model;
    ASSERT_EQ(without.tensors.erase(name), 1U);
    EXPECT_THAT(message_of([&] { read_hparams(OpenModelFile(without).file); }), HasSubstr(name));
    ModelFile longer = model;
    longer.tensors.at(name).shape[0] += 1;
    EXPECT_THAT(message_of([&] { read_hparams(OpenModelFile(longer).file); }),
                AllOf(HasSubstr(name), HasSubstr("expected")));
  }
  model.tensors["rope_freqs.weight"] = {{6}, gguf::TensorType::f32, 3, 1};
  EXPECT_THAT(message_of([&] { read_hparams(OpenModelFile(model).file); }),
              HasSubstr("'rope_freqs.weight' is not supported; expected none but those of qwen2"));
}

TEST(Hparams, FrequencyFactorsAreOneAPair) {
  ModelFile model({.rope_factors = true});
  EXPECT_EQ(read_hparams(OpenModelFile(model).file).n_rotated, 12);
  model.tensors.at("rope_freqs.weight").shape = {8};
  EXPECT_THAT(message_of([&] { read_hparams(OpenModelFile(model).file); }),
              AllOf(HasSubstr("rope_freqs.weight"), HasSubstr("is 8"), HasSubstr("expected 6")));
}

TEST(Hparams, FrequencyFactorsThatTurnNothingAreRefusedByName) {
  for (const double value : {0.0, -1.0, HUGE_VAL, std::nan(""), 0.25}) {
    ModelFile model({.rope_factors = true});
    model.tensors.at("rope_freqs.weight").planted = ModelFile::Planted{0, value};
    const OpenModelFile open(model);
    const auto device = open_device({.device = "simt"});
    const auto stream = device->create_stream();
    EXPECT_THAT(message_of([&] { Llama(*device, *stream, open.file, 1); }),
                AllOf(HasSubstr(open.file.path().string()), HasSubstr("rope_freqs.weight"),
                      HasSubstr("factor 0"), HasSubstr("expected")));
    EXPECT_EQ(device->counters().allocations, 0U);
  }
}

/// What open_model() says of a file with this metadata and nothing else.
std::string refusal(const GgufWriter& writer) {
  const TempFile file(writer.bytes());
  const std::string message = message_of([&] { (void)open_model(file.path); });
  EXPECT_THAT(message, StartsWith(file.path.string() + ": "));
  return message;
}

// Before anything is missed in them.
TEST(OpenModel, SaysWhatAFileIsInsteadOfAModel) {
  EXPECT_THAT(refusal(GgufWriter()
                          .entry("split.count", 2, GgufWriter::raw<std::uint16_t>(3))
                          .entry("split.no", 2, GgufWriter::raw<std::uint16_t>(1))),
              AllOf(HasSubstr("is part 2 of 3 of a model"), HasSubstr("split.count")));
  EXPECT_THAT(refusal(GgufWriter().str("general.type", "adapter")), HasSubstr("general.type is 'adapter'"));
  EXPECT_THAT(refusal(GgufWriter().str("general.type", "mmproj").str("general.architecture", "clip")),
              HasSubstr("general.type is 'mmproj'; expected 'model'"));
  EXPECT_THAT(refusal(GgufWriter().str("general.architecture", "gemma3")),
              HasSubstr("general.architecture is 'gemma3'; expected 'llama' or 'qwen2'"));
  EXPECT_THAT(refusal(GgufWriter()), HasSubstr("'general.architecture' is missing"));
  const TempFile whole(ModelFile().bytes());
  EXPECT_EQ(open_model(whole.path).str("general.architecture"), "llama");
}

// Types that nothing here computes with are no damage of the file, so that its architecture is looked at first.
TEST(OpenModel, LooksAtTheArchitectureBeforeTheTypesOfTensors) {
  ModelFile model;
  model.tensors.at("blk.0.ffn_up.weight") = {{256, 2}, gguf::TensorType::iq4_xs, 0, 1};
  const OpenModelFile open(model);
  EXPECT_THAT(message_of([&] { (void)read_hparams(open.file); }), HasSubstr("blk.0.ffn_up.weight"));
  model.metadata["general.architecture"] = "gemma3";
  EXPECT_THAT(message_of([&] { (void)read_hparams(OpenModelFile(model).file); }), HasSubstr("'gemma3'"));
}

class LlamaInputs : public ::testing::Test {
 protected:
  const OpenModelFile model_{ModelFile()};
  const std::unique_ptr<Device> device_ = open_device({.device = "simt"});
  const std::unique_ptr<Stream> stream_ = device_->create_stream();
};

TEST_F(LlamaInputs, NeedPositionsWithinTheContext) {
  for (const int n_positions : {-1, 0, 49}) {
    EXPECT_THAT(message_of([&] { Llama(*device_, *stream_, model_.file, n_positions); }),
                AllOf(HasSubstr(std::to_string(n_positions) + " positions"), EndsWith("1 to 48")));
  }
  EXPECT_EQ(Llama(*device_, *stream_, model_.file, 48).n_positions(), 48);
}

TEST_F(LlamaInputs, NeedTokensOfTheVocabulary) {
  Llama llama(*device_, *stream_, model_.file, 4);
  for (const int token : {-1, 67}) {
    EXPECT_THAT(message_of([&] { llama.forward(*stream_, token, 0); }),
                AllOf(HasSubstr("token " + std::to_string(token)), EndsWith("0 to 66")));
  }
  EXPECT_NO_THROW(llama.forward(*stream_, 66, 0));
  EXPECT_NO_THROW(stream_->synchronize());
}

TEST_F(LlamaInputs, NeedPositionsThatHaveRoom) {
  Llama llama(*device_, *stream_, model_.file, 4);
  for (const int position : {-1, 4}) {
    EXPECT_THAT(message_of([&] { llama.forward(*stream_, 1, position); }),
                AllOf(HasSubstr("position " + std::to_string(position)), EndsWith("0 to 3")));
  }
  const std::uint64_t launches = device_->counters().launches;
  EXPECT_THAT(message_of([&] {
                llama.start(*stream_, std::vector{1, 2, 3, 4, 5}, Way::launches);
              }),
              AllOf(HasSubstr("a prompt of 5 tokens"), EndsWith("room for 4")));
  EXPECT_NO_THROW(llama.start(*stream_, std::vector{1, 2, 3, 4}, Way::launches));
  EXPECT_EQ(launches, 0U);  // nothing of a refused step was queued
  // A step goes on behind a forward pass.
  llama.forward(*stream_, 1, 3);
  EXPECT_THAT(message_of([&] { llama.step(*stream_); }), AllOf(HasSubstr("position 4"), EndsWith("0 to 3")));
  llama.forward(*stream_, 1, 2);
  EXPECT_NO_THROW(llama.step(*stream_));
  EXPECT_NO_THROW(stream_->synchronize());
}

}  // namespace
}  // namespace m40llm::testing
