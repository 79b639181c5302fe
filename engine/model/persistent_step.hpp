#pragma once
#include <span>
#include <string>
#include <vector>

#include "engine/device/buffer.hpp"
#include "engine/device/launch.hpp"
#include "engine/model/step_plan.hpp"
#include "kernels/persistent_decode.h"

namespace m40llm {

/// Blocks of the persistent kernel an SM: two of 256 threads and 128 registers fill an M40's register file, and 16 warps
/// keep four times what its memory needs in flight.
inline constexpr int kPersistentBlocksPerSm = 2;

/// A step as one launch, of the plan's units.
class PersistentStep {
 public:
  /// `stream` gets the program. Throws LaunchRefused, naming it, on an op that has no units for a resident grid. The
  /// plan's memory must outlive this.
  PersistentStep(Device& device, Stream& stream, const StepPlan& plan, int n_blocks);

  /// Queued: what a launch that stood has left behind is forgotten. Before the first launch of a sequence.
  void reset(Stream& stream);
  /// Queues a step. A grid that is not resident is refused here.
  const Launch& launch() const { return launch_; }
  /// In order, each told whether it waits for other blocks: where it reads or writes what another op wrote, or writes
  /// what another op read, since all blocks last waited.
  std::span<const ResidentOp> ops() const { return program_.ops; }
  /// Of launches that are done: throws DeviceFault, naming the op, if blocks waited for others that did not come.
  void check() const;

 private:
  /// What the kernel walks.
  struct Program {
    std::vector<ResidentOp> ops;
    std::vector<std::string> names;
    unsigned shared_bytes = 0;
  };
  static Program program_of(const StepPlan& plan, const Buffer<ArgmaxCandidate>& parts);

  Buffer<ArgmaxCandidate> parts_;  // of argmax, one a block
  Program program_;
  Buffer<ResidentOp> ops_;
  Buffer<unsigned> barrier_;
  PinnedBuffer<int> stood_;
  Launch launch_;
};

}  // namespace m40llm
