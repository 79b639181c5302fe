#pragma once
#include <cmath>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "engine/gguf/file.hpp"
#include "reference/bfloat16.hpp"
#include "reference/half.hpp"
#include "tests/gguf/gguf_writer.hpp"

namespace m40llm::testing {

/// Numbers in [-1, 1], the same everywhere.
class Numbers {
 public:
  explicit Numbers(std::uint64_t seed) : state_(seed) {}
  double next() {
    state_ = state_ * 6364136223846793005u + 1442695040888963407u;
    return static_cast<double>(state_ >> 33) * 0x1p-30 - 1;
  }
  int below(int n) { return static_cast<int>((next() + 1) / 2 * n) % n; }

 private:
  std::uint64_t state_;
};

/// n_blocks of a type with random values that are spread evenly over about [-scale, scale].
inline std::string random_blocks(gguf::TensorType type, std::uint64_t n_blocks, double scale,
                                 Numbers& numbers) {
  const auto half = [](double value) { return GgufWriter::raw(reference::double_to_half(value)); };
  std::string blocks;
  for (std::uint64_t block = 0; block < n_blocks; ++block) {
    const double wobble = 1 + 0.25 * numbers.next();  // no two blocks have one scale
    switch (type) {
      case gguf::TensorType::f32:
        blocks += GgufWriter::raw(static_cast<float>(scale * numbers.next()));
        break;
      case gguf::TensorType::f16:
        blocks += half(scale * numbers.next());
        break;
      case gguf::TensorType::bf16:
        blocks += GgufWriter::raw(reference::double_to_bfloat16(scale * numbers.next()));
        break;
      case gguf::TensorType::q8_0:
        blocks += half(scale * wobble / 127);
        for (int i = 0; i < 32; ++i) blocks += static_cast<char>(numbers.below(255) - 127);
        break;
      case gguf::TensorType::q4_1:
        blocks += half(scale * wobble / 7.5) + half(-scale * wobble);
        for (int i = 0; i < 16; ++i) blocks += static_cast<char>(numbers.below(256));
        break;
      case gguf::TensorType::q4_0:
        blocks += half(scale * wobble / 8);
        for (int i = 0; i < 16; ++i) blocks += static_cast<char>(numbers.below(256));
        break;
      case gguf::TensorType::q4_k:
        // Scales and minima are any 6 bits, their halfs as if all were 32.
        blocks += half(scale * wobble / (7.5 * 32)) + half(scale * wobble / 32);
        for (int i = 0; i < 12 + 128; ++i) blocks += static_cast<char>(numbers.below(256));
        break;
      case gguf::TensorType::q5_k:
        blocks += half(scale * wobble / (15.5 * 32)) + half(scale * wobble / 32);
        for (int i = 0; i < 12 + 32 + 128; ++i) blocks += static_cast<char>(numbers.below(256));
        break;
      case gguf::TensorType::q6_k:
        for (int i = 0; i < 128 + 64 + 16; ++i) blocks += static_cast<char>(numbers.below(256));
        blocks += half(scale * wobble / (32 * 128));
        break;
      default:
        blocks.append(gguf::block_bytes(type), '\0');  // nothing reads it
    }
  }
  return blocks;
}

/// A GGUF file of a small model with random weights: two layers, or whatever the
/// members say when it is made. Its parts can be changed before it is written.
class ModelFile {
 public:
  struct Shape {
    std::uint32_t n_layers = 2;
    std::uint32_t n_context = 48;
    std::uint32_t width = 64;
    std::uint32_t n_ffn = 96;
    std::uint32_t n_heads = 4;
    std::uint32_t n_kv_heads = 2;
    std::uint32_t head_dim = 16;
    std::uint32_t n_rotated = 12;
    std::uint32_t n_vocab = 67;
    bool tied = true;                    ///< no output matrix
    bool rope_factors = false;           ///< frequency factors
    std::string architecture = "llama";  ///< or qwen2, which has biases
    /// Of the matrices, in turn.
    std::vector<gguf::TensorType> types{gguf::TensorType::q8_0, gguf::TensorType::f32, gguf::TensorType::q4_1,
                                        gguf::TensorType::f16};
  };
  /// A value in place of an element's, or in types of blocks, of a block's scale.
  struct Planted {
    std::uint64_t block;  ///< counted from the tensor's beginning; an element in types without blocks
    double value;
  };
  struct Tensor {
    std::vector<std::uint64_t> shape;
    gguf::TensorType type;
    double centre, scale;  ///< of the random values
    std::optional<Planted> planted = std::nullopt;
  };

  ModelFile() : ModelFile(Shape()) {}
  explicit ModelFile(const Shape& s) {
    const std::uint32_t q_width = s.n_heads * s.head_dim;
    const std::uint32_t kv_width = s.n_kv_heads * s.head_dim;
    const auto key = [&](const char* name) { return s.architecture + "." + name; };
    metadata = {{"general.architecture", s.architecture},
                {key("block_count"), s.n_layers},
                {key("context_length"), s.n_context},
                {key("embedding_length"), s.width},
                {key("feed_forward_length"), s.n_ffn},
                {key("attention.head_count"), s.n_heads},
                {key("attention.head_count_kv"), s.n_kv_heads},
                {key("attention.key_length"), s.head_dim},
                {key("attention.value_length"), s.head_dim},
                {key("rope.dimension_count"), s.n_rotated},
                {key("rope.freq_base"), 500.f},
                {key("attention.layer_norm_rms_epsilon"), 3e-3f}};
    std::size_t next = 0;
    const auto matrix = [&](const std::string& name, std::uint32_t rows, std::uint32_t cols) {
      tensors[name + ".weight"] = {{cols, rows}, s.types[next++ % s.types.size()], 0, std::sqrt(3.0 / cols)};
    };
    const auto vector = [&](const std::string& name) {
      tensors[name + ".weight"] = {{s.width}, gguf::TensorType::f32, 1, 0.25};
    };
    for (std::uint32_t layer = 0; layer < s.n_layers; ++layer) {
      const std::string block = "blk." + std::to_string(layer) + ".";
      vector(block + "attn_norm");
      matrix(block + "attn_q", q_width, s.width);
      matrix(block + "attn_k", kv_width, s.width);
      matrix(block + "attn_v", kv_width, s.width);
      matrix(block + "attn_output", s.width, q_width);
      vector(block + "ffn_norm");
      matrix(block + "ffn_gate", s.n_ffn, s.width);
      matrix(block + "ffn_up", s.n_ffn, s.width);
      matrix(block + "ffn_down", s.width, s.n_ffn);
    }
    if (s.architecture == "qwen2") {
      const auto bias = [&](const std::string& name, std::uint32_t n) {
        for (std::uint32_t layer = 0; layer < s.n_layers; ++layer)
          tensors["blk." + std::to_string(layer) + "." + name + ".bias"] = {
              {n}, gguf::TensorType::f32, 0, 0.5};
      };
      bias("attn_q", q_width);
      bias("attn_k", kv_width);
      bias("attn_v", kv_width);
    }
    if (s.rope_factors) tensors["rope_freqs.weight"] = {{s.n_rotated / 2}, gguf::TensorType::f32, 3, 2};
    vector("output_norm");
    matrix("token_embd", s.n_vocab, s.width);
    if (!s.tied) matrix("output", s.n_vocab, s.width);
  }

  using Value =
      std::variant<std::uint32_t, float, std::string, std::vector<std::string>, std::vector<std::int32_t>>;
  std::map<std::string, Value> metadata;
  std::map<std::string, Tensor> tensors;

  [[nodiscard]] std::string bytes() const {
    GgufWriter writer;
    for (const auto& [key, value] : metadata) {
      if (const auto* number = std::get_if<std::uint32_t>(&value)) {
        writer.u32(key, *number);
      } else if (const auto* real = std::get_if<float>(&value)) {
        writer.f32(key, *real);
      } else if (const auto* strings = std::get_if<std::vector<std::string>>(&value)) {
        writer.strings(key, *strings);
      } else if (const auto* integers = std::get_if<std::vector<std::int32_t>>(&value)) {
        writer.i32s(key, *integers);
      } else {
        writer.str(key, std::get<std::string>(value));
      }
    }
    Numbers numbers(1);
    for (const auto& [name, tensor] : tensors) {
      std::uint64_t elements = 1;
      for (const std::uint64_t extent : tensor.shape) elements *= extent;
      writer.data.resize((writer.data.size() + 31) / 32 * 32);
      const std::size_t begin = writer.data.size();
      writer.tensor(name, tensor.shape, static_cast<std::uint32_t>(tensor.type), begin);
      if (tensor.centre != 0 && tensor.type == gguf::TensorType::f32) {
        for (std::uint64_t i = 0; i < elements; ++i) {
          writer.data += GgufWriter::raw(static_cast<float>(tensor.centre + tensor.scale * numbers.next()));
        }
      } else {
        writer.data +=
            random_blocks(tensor.type, elements / gguf::block_elements(tensor.type), tensor.scale, numbers);
      }
      if (tensor.planted) {
        const double value = tensor.planted->value;
        std::string bytes = GgufWriter::raw(reference::double_to_half(value));
        if (tensor.type == gguf::TensorType::f32) bytes = GgufWriter::raw(static_cast<float>(value));
        if (tensor.type == gguf::TensorType::bf16)
          bytes = GgufWriter::raw(reference::double_to_bfloat16(value));
        writer.data.replace(begin + tensor.planted->block * gguf::block_bytes(tensor.type), bytes.size(),
                            bytes);
      }
    }
    return writer.bytes();
  }
};

/// A model file on disk and open. It is gone with the object.
class OpenModelFile {
 public:
  explicit OpenModelFile(const ModelFile& model)
      : on_disk_(model.bytes()), file(gguf::File::open(on_disk_.path)) {}

 private:
  TempFile on_disk_;

 public:
  const gguf::File file;
};

}  // namespace m40llm::testing
