#pragma once
#include <filesystem>

#include "engine/gguf/file.hpp"
#include "engine/model/architecture.hpp"

namespace m40llm {

/// What a model is and its sizes.
struct Hparams {
  const Architecture* architecture = nullptr;
  int n_layers = 0;
  int n_context = 0;  ///< positions the model was trained for
  int width = 0;
  int n_ffn = 0;
  int n_heads = 0;
  int n_kv_heads = 0;  ///< divides n_heads
  int head_dim = 0;
  int n_rotated = 0;  ///< of a head's dimensions, by rope
  int n_vocab = 0;
  float eps = 0;
  float rope_base = 0;
};

/// Opens a file whose metadata say that it is a whole model of one of architectures(). Throws Error as File::open()
/// does, or naming what it is instead: a part of a split model, an adapter, a projector, another architecture.
/// To be asked first: what else such a file lacks or has is not what is wrong with it.
gguf::File open_model(const std::filesystem::path& path);

/// Reads and checks them: sizes in range, and every tensor of the model there with the shape they ask for.
/// Throws Error naming the file, the key or tensor, its value and what was expected, and as
/// open_model() does.
Hparams read_hparams(const gguf::File& file);

}  // namespace m40llm
