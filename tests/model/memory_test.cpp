#include "engine/model/memory.hpp"

#include <gtest/gtest.h>

#include "engine/device/simt/simt_device.hpp"
#include "engine/model/llama.hpp"
#include "tests/model/model_file.hpp"

namespace m40llm::testing {
namespace {

std::unique_ptr<Device> simt(std::size_t memory_bytes = 0) {
  DeviceOptions options;
  options.memory_bytes = memory_bytes;
  return open_simt_device(options);
}

TEST(ModelMemory, IsWhatTheModelThenHolds) {
  const ModelFile::Shape shapes[] = {{},
                                     {.n_layers = 3, .tied = false},
                                     {.rope_factors = true},
                                     {.n_context = 300},
                                     {.n_vocab = 5000},
                                     {.architecture = "qwen2"},
                                     {.width = 40,
                                      .n_ffn = 44,
                                      .n_kv_heads = 1,
                                      .head_dim = 24,
                                      .n_rotated = 24,
                                      .n_vocab = 71,
                                      .types = {gguf::TensorType::f16, gguf::TensorType::f32}}};
  for (const ModelFile::Shape& shape : shapes) {
    const OpenModelFile opened{ModelFile(shape)};
    for (const int n_positions : {1, 37, static_cast<int>(shape.n_context)}) {
      const std::unique_ptr<Device> device = simt();
      const std::unique_ptr<Stream> stream = device->create_stream();
      const Llama model(*device, *stream, opened.file, n_positions);
      std::map<std::string, std::uint64_t> held;
      for (const auto& [owner, bytes] : device->holdings()) held[owner] = bytes;
      EXPECT_EQ(memory_of(opened.file, model.hparams(), n_positions, device->n_sms()).on_device.by_owner(),
                held);
    }
  }
}

/// A matrix stands there as it is read, and once more as it is packed.
TEST(ModelMemory, OfTheHostIsTwiceTheLargestMatrix) {
  const OpenModelFile opened{ModelFile({.n_vocab = 5000, .types = {gguf::TensorType::f32}})};
  const ModelMemory memory = memory_of(opened.file, read_hparams(opened.file), 37, 24);
  EXPECT_EQ(memory.on_host.total(), 2u * 5000 * 64 * 4);
}

std::string refusal_of(Device& device, const gguf::File& file, int n_positions) {
  const std::unique_ptr<Stream> stream = device.create_stream();
  try {
    const Llama model(device, *stream, file, n_positions);
  } catch (const OutOfMemory& refusal) {
    EXPECT_EQ(device.counters().allocations, 0u) << "something was taken before";
    return refusal.what();
  }
  return "(loaded)";
}

TEST(ModelMemory, IsRefusedByOwnerWithTheContextThatFits) {
  ModelFile::Shape shape;
  shape.n_context = 1 << 20;
  const OpenModelFile opened{ModelFile(shape)};
  // 4 bytes for each of 2 layers, 2 heads of K and V and 16 dimensions: 256 bytes a position, 6 pairs of 8 bytes
  // in the table of angles, which is made on the host first: twice 48, and 4 for a token of the prompt. Of each 64
  // positions attention keeps 18 floats for each of 4 heads: 4.5 a position.
  const std::string refusal = refusal_of(*simt(10'000'000), opened.file, 1'000'000);
  EXPECT_NE(refusal.find(": not enough memory for a context of 1000000: 360."), std::string::npos) << refusal;
  for (const char* part : {"kv_cache 256.0 MB", "rope_table 48.0 MB", "loading 48.0 MB", "weights ",
                           "scratch 4.5 MB", "activations ", "has 10.0 MB free"}) {
    EXPECT_NE(refusal.find(part), std::string::npos) << refusal;
  }
  const std::size_t at = refusal.find("; a context of ");
  ASSERT_NE(at, std::string::npos) << refusal;
  const int fits = std::stoi(refusal.substr(at + std::string("; a context of ").size()));
  EXPECT_NEAR(fits, 10e6 / 360.5, 1000);
  EXPECT_EQ(refusal_of(*simt(10'000'000), opened.file, fits), "(loaded)");
  EXPECT_NE(refusal_of(*simt(10'000'000), opened.file, fits + 1), "(loaded)");
  EXPECT_EQ(refusal_of(*simt(10'000), opened.file, 100).find("would fit"), std::string::npos);
}

}  // namespace
}  // namespace m40llm::testing
