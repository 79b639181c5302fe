#pragma once
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "engine/device/buffer.hpp"
#include "engine/model/hparams.hpp"

namespace m40llm {

/// What ops of a step hand to each other.
enum class Activation : std::uint8_t {
  hidden,
  normed,
  q,
  k,
  v,
  attention,
  projected,
  gate,
  up,
  activated,
  logits,
};

/// Bytes that the ops of a step work in besides tensors, as much as the one that needs most of each: they run in
/// order, and share it (WorkMemory).
struct StepMemory {
  std::size_t scratch = 0;
  std::size_t state = 0;
};

/// A sequence's activations, and what it is fed: all that a step writes besides the cache.
class Workspace {
 public:
  /// Activations are zeros at first.
  Workspace(Device& device, Stream& stream, const Hparams& h, int n_positions, const StepMemory& step);
  /// What a workspace holds besides the step's memory.
  static std::uint64_t bytes(const Hparams& h, int n_positions);

  /// Each but the logits reaches to the next multiple of 32, zeros behind its end.
  const Buffer<float>& operator[](Activation a) const { return activations_[static_cast<std::size_t>(a)]; }
  const Buffer<std::byte>& scratch() const { return scratch_; }
  const Buffer<std::byte>& state() const { return state_; }  ///< zeros between ops
  int* token() const { return fed_.data(); }                 ///< that the next step is fed
  int* position() const { return fed_.data() + 1; }          ///< of it
  int* prompt_length() const { return fed_.data() + 2; }     ///< 0: tokens are chosen from here on
  int* sequence() const { return fed_.data() + 3; }          ///< of the cache: there is one
  int* prompt() const { return prompt_.data(); }             ///< (n_positions)
  /// That the last step chose; ~i, which is negative, if logit i is the first that is not finite.
  const Buffer<int>& chosen() const { return chosen_; }

  /// Queued: the next step is fed `token` at `position`, those behind it what is chosen.
  void feed(Stream& stream, int token, int position) const;
  /// Queued: the next steps are fed the prompt from position 0 on, then what is chosen. At least one token.
  void feed(Stream& stream, std::span<const int> prompt) const;

 private:
  std::vector<Buffer<float>> activations_;
  Buffer<int> fed_, chosen_, prompt_;
  Buffer<std::byte> scratch_, state_;
};

}  // namespace m40llm
