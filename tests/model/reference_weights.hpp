#pragma once
#include <string>

#include "bench/weights.hpp"
#include "engine/gguf/file.hpp"
#include "reference/dequantize.hpp"
#include "reference/llama.hpp"

/// A GGUF file's model for the reference. What it says is read here once more, and not through the engine's
/// Hparams, so that the engine's misreading would show.
namespace m40llm::testing {

inline reference::Format stored_format(gguf::TensorType type) {
  return bench::in_reference(gguf::format_of(type).value());
}

template <class S>
reference::Matrix<S> matrix_of(const gguf::File& file, const gguf::Tensor& tensor) {
  reference::Matrix<S> matrix(static_cast<Eigen::Index>(tensor.shape.at(1)),
                              static_cast<Eigen::Index>(tensor.shape.at(0)));
  reference::dequantize<S>(stored_format(tensor.type), file.read(tensor), {matrix.data(), tensor.elements()});
  return matrix;
}

template <class S>
reference::Vector<S> vector_of(const gguf::File& file, const gguf::Tensor& tensor) {
  reference::Vector<S> vector(static_cast<Eigen::Index>(tensor.elements()));
  reference::dequantize<S>(stored_format(tensor.type), file.read(tensor), {vector.data(), tensor.elements()});
  return vector;
}

template <class S>
reference::Weights<S> reference_weights(const gguf::File& file) {
  const std::string architecture(file.str("general.architecture"));
  const auto number = [&](const std::string& key) {
    return static_cast<int>(file.u32(architecture + "." + key));
  };
  reference::Weights<S> weights;
  weights.shape.width = number("embedding_length");
  weights.shape.n_heads = number("attention.head_count");
  weights.shape.n_kv_heads = number("attention.head_count_kv");
  weights.shape.head_dim =
      static_cast<int>(file.tensor("blk.0.attn_q.weight").shape.at(1)) / weights.shape.n_heads;
  weights.shape.n_rotated = number("rope.dimension_count");
  weights.shape.rope_base = static_cast<double>(file.f32(architecture + ".rope.freq_base"));
  weights.shape.eps = static_cast<double>(file.f32(architecture + ".attention.layer_norm_rms_epsilon"));
  if (architecture == "qwen2") weights.shape.rope_pairs = reference::RopePairs::neox;
  if (const gguf::Tensor* factors = file.find_tensor("rope_freqs.weight")) {
    const reference::Vector<double> values = vector_of<double>(file, *factors);
    weights.shape.rope_factors.assign(values.begin(), values.end());
  }
  weights.embedding = matrix_of<S>(file, file.tensor("token_embd.weight"));
  weights.output_norm = vector_of<S>(file, file.tensor("output_norm.weight"));
  if (const gguf::Tensor* output = file.find_tensor("output.weight"))
    weights.output = matrix_of<S>(file, *output);
  for (int layer = 0; layer < number("block_count"); ++layer) {
    const auto tensor = [&](const char* name) -> const gguf::Tensor& {
      return file.tensor("blk." + std::to_string(layer) + "." + name + ".weight");
    };
    const auto bias = [&](const char* name) {
      const gguf::Tensor* const found =
          file.find_tensor("blk." + std::to_string(layer) + "." + name + ".bias");
      return found == nullptr ? reference::Vector<S>() : vector_of<S>(file, *found);
    };
    weights.layers.push_back({vector_of<S>(file, tensor("attn_norm")), matrix_of<S>(file, tensor("attn_q")),
                              matrix_of<S>(file, tensor("attn_k")), matrix_of<S>(file, tensor("attn_v")),
                              matrix_of<S>(file, tensor("attn_output")),
                              vector_of<S>(file, tensor("ffn_norm")), matrix_of<S>(file, tensor("ffn_gate")),
                              matrix_of<S>(file, tensor("ffn_up")), matrix_of<S>(file, tensor("ffn_down")),
                              bias("attn_q"), bias("attn_k"), bias("attn_v")});
  }
  return weights;
}

}  // namespace m40llm::testing
