#pragma once
#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "engine/device/launch.hpp"
#include "engine/kv_cache/kv_cache.hpp"
#include "engine/model/hparams.hpp"
#include "engine/model/resident_form.hpp"
#include "engine/model/weights.hpp"
#include "engine/model/workspace.hpp"
#include "engine/ops/gemv.hpp"
#include "engine/ops/variant.hpp"

namespace m40llm {

/// Which ops a step is made of. The bits are the same.
enum class StepOps : std::uint8_t {
  fused,  ///< five or six a layer: what stands around a product is done by its kernel
  separate,  ///< each by a kernel of its own: what the fused ones are held against, and every value can be looked at
};

/// What an op of a step writes.
enum class Writes : std::uint8_t {
  activation,
  kv_cache,  ///< K and V of its layer and position
  sequence,  ///< which token and position follow
};

/// An op of a step, ready to be queued as often as one likes.
struct PlannedOp {
  int layer = -1;           ///< -1: before the first layer or behind the last
  std::string label;        ///< "gate", "rope of Q", ...
  std::string op;           ///< "gemv_q4_1"
  std::string variant;      ///< "word_shared"
  std::string_view format;  ///< of its weights, "Q4_1"; empty where it reads no matrix
  Work work;                ///< what it takes at any context
  Work work_a_position;     ///< and what each position attended to adds
  ProductRounds rounds;     ///< of a product's kernel, the one of `launches`
  std::vector<Launch> launches;
  std::optional<ResidentForm> resident;  ///< as the persistent kernel takes it; none: it cannot
  Writes writes = Writes::activation;
  std::span<const float> values;  ///< the activation written, in device memory; else empty

  /// Of a step that attends to n_positions.
  Work work_at(int n_positions) const {
    return {work.bytes + n_positions * work_a_position.bytes,
            work.flops + n_positions * work_a_position.flops};
  }
};

/// All that a device does for one token, in order. Nothing in it depends on the step: token and position are in
/// device memory, and the last op advances them.
using StepPlan = std::vector<PlannedOp>;

/// For the ops of plan_step on a device of n_sms SMs.
StepMemory step_memory(const Hparams& h, int n_positions, int n_sms);

/// Made once, from the model's architecture and each op's default variant. It points into weights, cache, workspace
/// and rope_table (n_positions, n_rotated / 2), which must outlive it.
StepPlan plan_step(const Device& device, const Hparams& h, const Weights& weights, const KvCache& cache,
                   const Workspace& workspace, const float2* rope_table, StepOps ops,
                   Activations activations);

/// All launches of a step, in order.
std::vector<Launch> launches(const StepPlan& plan);

/// Queues a step, op by op, and tells of each op, unless `queued` is empty, once it is queued.
void run(Stream& stream, const StepPlan& plan, const std::function<void(const PlannedOp&)>& queued = {});

}  // namespace m40llm
