#include "engine/model/hparams.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <set>
#include <span>

#include "engine/model/pack.hpp"
#include "engine/printable.hpp"
#include "kernels/attention_decode.h"

namespace m40llm {
namespace {

constexpr std::array kVectorTypes{gguf::TensorType::f32};

/// What a file is at all, before anything is missed in it: parts of a model, adapters, projectors and models of
/// other architectures lack or have other keys and tensors.
const Architecture& expect_model(const gguf::File& file) {
  if (const std::uint32_t parts = file.u32_or("split.count", 1); parts > 1) {
    file.fail("is part " + std::to_string(std::uint64_t{file.u32_or("split.no", 0)} + 1) + " of " +
              std::to_string(parts) +
              " of a model (split.no and split.count of its metadata); expected one file, as "
              "'llama-gguf-split --merge' makes of them");
  }
  if (const std::string_view type = file.str_or("general.type", "model"); type != "model")
    file.fail("general.type is " + in_quotes(type) + "; expected 'model'");
  const std::string_view name = file.str("general.architecture");
  const Architecture* const architecture = find_architecture(name);
  if (architecture == nullptr) {
    std::string known;
    for (const Architecture& one : architectures())
      known += (known.empty() ? "" : " or ") + in_quotes(one.name);
    file.fail("general.architecture is " + in_quotes(name) + "; expected " + known);
  }
  return *architecture;
}

/// A size between least and most.
int size(const gguf::File& file, std::string_view key, std::uint32_t value, std::uint32_t least,
         std::uint32_t most) {
  if (value < least || value > most) {
    file.fail(std::string(key) + " is " + std::to_string(value) + "; expected " + std::to_string(least) +
              " to " + std::to_string(most));
  }
  return static_cast<int>(value);
}

int size(const gguf::File& file, std::string_view key, std::uint32_t least, std::uint32_t most) {
  return size(file, key, file.u32(key), least, most);
}

void expect_shape(const gguf::File& file, const std::string& name, std::vector<std::uint64_t> shape) {
  const gguf::Tensor& tensor = file.tensor(name);
  if (tensor.shape == shape) return;
  const auto text = [](const std::vector<std::uint64_t>& extents) {
    std::string joined;
    for (const std::uint64_t extent : extents)
      joined += (joined.empty() ? "" : " x ") + std::to_string(extent);
    return joined;
  };
  file.fail("tensor '" + name + "' is " + text(tensor.shape) + "; expected " + text(shape));
}

void expect_type(const gguf::File& file, const std::string& name, std::span<const gguf::TensorType> types) {
  const gguf::TensorType type = file.tensor(name).type;
  if (std::find(types.begin(), types.end(), type) == types.end()) {
    file.fail("tensor '" + name + "' is " + gguf::name_and_number(type) + "; expected " + gguf::names(types));
  }
}

void expect_vector(const gguf::File& file, const std::string& name, int n) {
  expect_shape(file, name, {static_cast<std::uint64_t>(n)});
  expect_type(file, name, kVectorTypes);
}

void expect_matrix(const gguf::File& file, const std::string& name, int rows, int cols) {
  expect_shape(file, name, {static_cast<std::uint64_t>(cols), static_cast<std::uint64_t>(rows)});
  expect_type(file, name, kMatrixTypes);
}

void expect_tensor(const gguf::File& file, const Hparams& h, const NamedTensor& tensor) {
  const TensorRow& row = *tensor.row;
  if (row.need == Need::optional && file.find_tensor(tensor.name) == nullptr) return;
  if (row.is_vector()) {
    expect_vector(file, tensor.name, row.cols(h));
  } else {
    expect_matrix(file, tensor.name, row.rows(h), row.cols(h));
  }
}

/// Any other tensor (a bias, norms of q and k) would change what the model computes.
void refuse_others(const gguf::File& file, const Hparams& h, std::span<const NamedTensor> expected) {
  std::set<std::string_view> used;
  for (const NamedTensor& tensor : expected) used.insert(tensor.name);
  for (const gguf::Tensor& tensor : file.tensors()) {
    if (!used.contains(tensor.name)) {
      file.fail("tensor " + in_quotes(tensor.name) + " is not supported; expected none but those of " +
                std::string(h.architecture->name) + " with " + std::to_string(h.n_layers) + " layers");
    }
  }
}

}  // namespace

gguf::File open_model(const std::filesystem::path& path) {
  gguf::File file = gguf::File::open(path);
  expect_model(file);
  return file;
}

Hparams read_hparams(const gguf::File& file) {
  Hparams h;
  h.architecture = &expect_model(file);
  const auto key = [&](const char* name) { return std::string(h.architecture->name) + "." + name; };
  const std::string scaling = key("rope.scaling.type");
  if (file.str_or(scaling, "none") != "none") {
    file.fail(scaling + " is " + in_quotes(file.str(scaling)) + "; expected 'none'");
  }
  // Without the type a factor means linear scaling; the second is its key in older files.
  for (const std::string& name : {key("rope.scaling.factor"), key("rope.scale_linear")}) {
    const float factor = file.f32_or(name, 1);
    if (factor != 0 && factor != 1) {
      file.fail(name + " is " + std::to_string(factor) + "; expected 1 (no scaling)");
    }
  }
  // It multiplies cosines and sines, whatever the type.
  const std::string length_factor = key("rope.scaling.attn_factor");
  if (const float factor = file.f32_or(length_factor, 1); factor != 1)
    file.fail(length_factor + " is " + std::to_string(factor) + "; expected 1 (no scaling)");
  if (file.has(key("expert_count")) && file.u32(key("expert_count")) != 0) {
    file.fail(key("expert_count") + " is " + std::to_string(file.u32(key("expert_count"))) +
              "; expected 0 (no experts)");
  }
  h.n_layers = size(file, key("block_count"), 1, 1024);
  h.n_context = size(file, key("context_length"), 1, 1u << 22);
  h.width = size(file, key("embedding_length"), 1, 1u << 17);
  h.n_ffn = size(file, key("feed_forward_length"), 1, 1u << 18);
  h.n_heads = size(file, key("attention.head_count"), 1, 1024);
  const auto heads = static_cast<std::uint32_t>(h.n_heads);
  h.n_kv_heads = size(file, key("attention.head_count_kv"),
                      file.u32_or(key("attention.head_count_kv"), heads), 1, heads);
  if (h.n_heads % h.n_kv_heads != 0) {
    file.fail(key("attention.head_count_kv") + " is " + std::to_string(h.n_kv_heads) +
              "; expected a divisor of the " + std::to_string(h.n_heads) + " heads");
  }
  h.head_dim = size(file, key("attention.key_length"),
                    file.u32_or(key("attention.key_length"), static_cast<std::uint32_t>(h.width / h.n_heads)),
                    8, kAttentionHeadDim);
  const auto head_dim = static_cast<std::uint32_t>(h.head_dim);
  size(file, key("attention.value_length"), file.u32_or(key("attention.value_length"), head_dim), head_dim,
       head_dim);
  if (h.head_dim % 8 != 0) {
    file.fail("heads of " + std::to_string(h.head_dim) + " dimensions; expected a multiple of 8");
  }
  h.n_rotated = size(file, key("rope.dimension_count"),
                     file.u32_or(key("rope.dimension_count"), static_cast<std::uint32_t>(h.head_dim)), 2,
                     static_cast<std::uint32_t>(h.head_dim));
  if (h.n_rotated % 2 != 0) {
    file.fail(key("rope.dimension_count") + " is " + std::to_string(h.n_rotated) +
              "; expected an even number");
  }
  h.eps = file.f32(key("attention.layer_norm_rms_epsilon"));
  if (!(h.eps > 0 && h.eps < 1)) {
    file.fail(key("attention.layer_norm_rms_epsilon") + " is " + std::to_string(h.eps) + "; expected 0 to 1");
  }
  h.rope_base = file.f32_or(key("rope.freq_base"), 10000.f);
  if (!(h.rope_base >= 1) || !std::isfinite(h.rope_base)) {
    file.fail(key("rope.freq_base") + " is " + std::to_string(h.rope_base) + "; expected at least 1");
  }
  const gguf::Tensor& embedding = file.tensor("token_embd.weight");
  const std::uint64_t n_vocab = embedding.shape.size() == 2 ? embedding.shape[1] : 0;
  h.n_vocab = size(file, "rows of token_embd.weight",
                   n_vocab > (1u << 24) ? ~0u : static_cast<std::uint32_t>(n_vocab), 1, 1u << 24);

  const std::vector<NamedTensor> tensors = tensors_of(h);
  for (const NamedTensor& tensor : tensors) expect_tensor(file, h, tensor);
  refuse_others(file, h, tensors);
  return h;
}

}  // namespace m40llm
