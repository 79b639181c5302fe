#pragma once
#include <cstddef>
#include <span>

/// Finds the loops in machine code for Maxwell and Pascal (sm_50 to sm_62).
namespace m40llm::image {

/// Instructions from the first of a loop's to the branch back to it, all that stand there, taken or jumped over: no fewer
/// than one round issues, and an upper bound where a part is for some rounds alone.
struct LoopSizes {
  int inner = 0;  ///< of the loop that is nested deepest, of several the longest; 0: there is none
  int outer = 0;  ///< of the loop next around it, which is counted too; 0: there is none
};

/// `text` are the instructions of one kernel: bundles of 32 bytes, a control word and three instructions of 8 bytes each. A
/// loop is closed by a relative branch (BRA) to an address before it, as nvdisasm of CUDA 12.4 shows for all loops of products.
LoopSizes main_loop(std::span<const std::byte> text);

}  // namespace m40llm::image
