#pragma once
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace m40llm {

struct Hparams;

/// Which two of a head's rotated dimensions rope turns together: neighbours, or those half of them apart.
enum class RopePairs : std::uint8_t { normal, neox };

/// What a tensor is for.
enum class Role : std::uint8_t {
  embedding,
  output_norm,
  output,
  rope_factors,
  attention_norm,
  q,
  k,
  v,
  q_bias,
  k_bias,
  v_bias,
  attention_output,
  ffn_norm,
  gate,
  up,
  down,
};

/// Whether a model of the architecture must have a tensor.
enum class Need : std::uint8_t { required, optional };

/// One tensor of an architecture, or one of each of its layers.
struct TensorRow {
  Role role;
  std::string_view name;  ///< "output.weight"; of a layer without its "blk.<layer>." before it
  bool per_layer;
  Need need;
  int (*rows)(const Hparams& h);  ///< null: a vector, which is F32
  int (*cols)(const Hparams& h);  ///< a vector's length

  bool is_vector() const { return rows == nullptr; }
};

/// What a model is made of. Reading hyperparameters, checking and loading tensors, refusing others, the memory
/// they take and the plan of a step all follow from it.
struct Architecture {
  std::string_view name;  ///< general.architecture, and what its keys begin with
  RopePairs rope_pairs;
  std::span<const TensorRow> tensors;
};

std::span<const Architecture> architectures();
/// Null if there is none of this name.
const Architecture* find_architecture(std::string_view name);

/// A tensor that a model of this size has.
struct NamedTensor {
  const TensorRow* row;
  int layer;  ///< -1: of no layer
  std::string name;
};
/// Every tensor that a model of h.architecture and h.n_layers may have, in the order of the data.
std::vector<NamedTensor> tensors_of(const Hparams& h);

}  // namespace m40llm
