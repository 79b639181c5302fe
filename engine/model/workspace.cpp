#include "engine/model/workspace.hpp"

#include <array>

namespace m40llm {
namespace {

constexpr const char* kOwner = "activations";
constexpr std::size_t kFed = 4;  // token, position, the prompt's length, sequence

/// Elements of an activation.
std::size_t elements(Activation a, const Hparams& h) {
  const auto padded = [](int n) { return static_cast<std::size_t>((n + 31) / 32 * 32); };
  switch (a) {
    case Activation::hidden:
    case Activation::normed:
    case Activation::projected:
      return padded(h.width);
    case Activation::q:
    case Activation::attention:
      return padded(h.n_heads * h.head_dim);
    case Activation::k:
    case Activation::v:
      return padded(h.n_kv_heads * h.head_dim);
    case Activation::gate:
    case Activation::up:
    case Activation::activated:
      return padded(h.n_ffn);
    case Activation::logits:
      return static_cast<std::size_t>(h.n_vocab);
  }
  return 0;
}

constexpr int kActivations = static_cast<int>(Activation::logits) + 1;

}  // namespace

std::uint64_t Workspace::bytes(const Hparams& h, int n_positions) {
  std::uint64_t bytes = (kFed + 1 + static_cast<std::uint64_t>(n_positions)) * sizeof(int);
  for (int a = 0; a < kActivations; ++a) bytes += elements(static_cast<Activation>(a), h) * sizeof(float);
  return bytes;
}

Workspace::Workspace(Device& device, Stream& stream, const Hparams& h, int n_positions,
                     const StepMemory& step)
    : fed_(device, kFed, kOwner),
      chosen_(device, 1, kOwner),
      prompt_(device, static_cast<std::size_t>(n_positions), kOwner),
      scratch_(device, step.scratch, "scratch"),
      state_(device, step.state, "scratch") {
  stream.fill(state_.data(), 0, state_.bytes());
  for (int a = 0; a < kActivations; ++a) {
    const auto& buffer = activations_.emplace_back(device, elements(static_cast<Activation>(a), h), kOwner);
    stream.fill(buffer.data(), 0, buffer.bytes());
  }
}

void Workspace::feed(Stream& stream, int token, int position) const {
  fed_.upload(stream, std::array{token, position, 0, 0});
}

void Workspace::feed(Stream& stream, std::span<const int> prompt) const {
  prompt_.upload(stream, prompt);
  fed_.upload(stream, std::array{prompt.front(), 0, static_cast<int>(prompt.size()), 0});
}

}  // namespace m40llm
