#pragma once
#include <functional>
#include <memory>
#include <span>

#include "engine/device/buffer.hpp"
#include "engine/gguf/file.hpp"
#include "engine/kv_cache/kv_cache.hpp"
#include "engine/model/hparams.hpp"
#include "engine/model/persistent_step.hpp"
#include "engine/model/step_plan.hpp"
#include "engine/model/way.hpp"
#include "engine/model/weights.hpp"
#include "engine/model/workspace.hpp"

namespace m40llm {

/// What an op of a step wrote.
struct StepOutput {
  int layer = -1;            ///< -1: before the first layer or behind the last
  const char* op = nullptr;  ///< "gate", "rope of Q", ...
  /// Device memory, right once the stream has done what was queued so far. Empty: K and V, into the cache.
  std::span<const float> values;
};
using OnOutput = std::function<void(const StepOutput&)>;

/// A model of one of architectures() on a device, which must outlive it, and one sequence on it: a token goes in at
/// a position, logits come out.
class Llama {
 public:
  /// Checks the file, repacks its weights and uploads them on `stream`. n_positions: what the sequence may
  /// reach, at most the model's context. Throws Error on a file that does not fit or a device that is too
  /// small.
  Llama(Device& device, Stream& stream, const gguf::File& file, int n_positions,
        Activations activations = Activations::float32);

  const Hparams& hparams() const { return hparams_; }
  int n_positions() const { return kv_cache_.n_positions(); }
  const KvCache& kv_cache() const { return kv_cache_; }
  const Workspace& workspace() const { return workspace_; }
  /// Of a step that goes to the device by `way`; a forward pass has that of Way::separate.
  const StepPlan& plan(Way way) const { return way == Way::separate ? separate_plan_ : plan_; }

  /// The next step() is fed the prompt's first token at position 0, and so on, those behind the prompt what the
  /// step before chose. Each goes to the device by `way`, one of kStepWays: what that needs is made here, where it is not there yet.
  /// Throws Error on an empty prompt, on one without room, and on a token out of range; LaunchRefused on a plan that
  /// cannot go that way.
  void start(Stream& stream, std::span<const int> prompt, Way way);
  /// Queues the next token's forward pass. Nothing goes to the device but launches. Throws Error when the sequence
  /// has no room.
  void step(Stream& stream);
  /// Of steps that the host has waited for: throws DeviceFault if one did not come to its end.
  void check_steps() const;
  /// What each step launches by `way`, one of kStepWays, which a sequence has gone.
  std::vector<Launch> step_launches(Way way) const;

  /// Queues one token's forward pass, each op by a kernel of its own, with the bits of a step: its K and V go into
  /// the cache at `position`, logits() and next_token() get their values. Positions come in order from 0 on; the last one may be taken again.
  /// `hidden`, unless empty, gets the hidden state (n_layers + 1, width) on the way: [l] is layer l's input,
  /// the last the input of the final norm; synchronize before reading it. `on_output`, unless empty, is told
  /// of each op but the choice of the next token once it is queued. Throws Error on a token or position out
  /// of range.
  void forward(Stream& stream, int token, int position, std::span<float> hidden = {},
               const OnOutput& on_output = {});

  const Buffer<float>& logits() const { return workspace_[Activation::logits]; }  ///< (n_vocab)
  /// The largest logit's; ~i, which is negative, if logit i is the first that is not finite.
  const Buffer<int>& next_token() const { return workspace_.chosen(); }

  /// Throws Error on one that is not in the vocabulary.
  void check_token(int token) const;

 private:
  void check_position(int position) const;

  Device& device_;
  Hparams hparams_;
  Weights weights_;
  Buffer<float2> rope_table_;  // (n_positions, n_rotated / 2)
  KvCache kv_cache_;
  Workspace workspace_;
  StepPlan plan_;                               // of a step
  StepPlan separate_plan_;                      // of a forward pass: every value can be looked at
  std::unique_ptr<Graph> graph_;                // of plan_; made by the first sequence that needs it
  std::unique_ptr<PersistentStep> persistent_;  // likewise
  Way way_ = Way::launches;                     // of the sequence's steps
  int position_ = 0;                            // of the next step, as the device has it
};

}  // namespace m40llm
