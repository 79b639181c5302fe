#pragma once
#include <span>
#include <string>
#include <vector>

#include "engine/device/buffer.hpp"
#include "engine/model/step_plan.hpp"
#include "kernels/persistent_decode.h"

namespace m40llm {

/// Blocks of the persistent kernel an SM: two of 256 threads and 128 registers fill an M40's register file, and 16 warps
/// keep four times what its memory needs in flight.
inline constexpr int kPersistentBlocksPerSm = 2;
inline constexpr const char* kResidentOwner = "resident grid";

/// A plan's ops as a resident grid walks them, in device memory.
class ResidentProgram {
 public:
  /// Queues the upload. Throws LaunchRefused, naming it, on an op that has no units for a resident grid. The plan's
  /// memory must outlive this.
  ResidentProgram(Device& device, Stream& stream, const StepPlan& plan, int n_blocks);

  /// In order, each told whether it waits for other blocks: where it reads or writes what another op wrote, or writes
  /// what another op read, since all blocks last waited.
  std::span<const ResidentOp> ops() const { return made_.ops; }
  const ResidentOp* data() const { return ops_.data(); }
  unsigned shared_bytes() const { return made_.shared_bytes; }
  /// The fault of a grid of `kernel` that gave up before an op; behind the last one: before the next step.
  DeviceFault stood(const std::string& kernel, std::size_t op) const;

 private:
  struct Made {
    std::vector<ResidentOp> ops;
    std::vector<std::string> names;
    unsigned shared_bytes = 0;
  };
  static Made make(const StepPlan& plan, const Buffer<ArgmaxCandidate>& parts);

  Buffer<ArgmaxCandidate> parts_;  // of argmax, one a block
  Made made_;
  Buffer<ResidentOp> ops_;
};

}  // namespace m40llm
