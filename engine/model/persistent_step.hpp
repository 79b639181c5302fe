#pragma once
#include <span>

#include "engine/device/buffer.hpp"
#include "engine/device/launch.hpp"
#include "engine/model/resident_program.hpp"

namespace m40llm {

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
  std::span<const ResidentOp> ops() const { return program_.ops(); }
  /// Of launches that are done: throws DeviceFault, naming the op, if blocks waited for others that did not come.
  void check() const;

 private:
  ResidentProgram program_;
  Buffer<unsigned> barrier_;
  PinnedBuffer<unsigned> stood_;
  Launch launch_;
};

}  // namespace m40llm
