#pragma once
#include <string>

namespace simt {

/// What the SIMT device can find wrong with a kernel. The scheduler finds those up to `device_failed` in
/// every build, the checker (preset `checked`) the others.
enum class Fault {
  barrier_not_reached,   ///< part of a warp or block never comes to the barrier the rest waits at
  shuffle_missing_lane,  ///< a lane named in the mask of a warp's collective does not come
  endless_spin,          ///< a spin whose condition nobody can make true
  spin_holds_own_warp,   ///< a spin for what another lane of its own warp would do: deadlock on Maxwell
  resources,             ///< more shared memory than a block of sm_52 has
  device_failed,  ///< no fault of the kernel: the SIMT device could not go on, for want of memory mostly
  uninitialized_read,
  out_of_bounds_read,
  out_of_bounds_write,
  misaligned,
  race,              ///< two accesses that nothing orders, one of them a write
  readonly_written,  ///< a load through the read-only cache of memory that the same launch writes
};
const char* name(Fault fault);

/// One fault in a kernel, told as: kernel, block, thread, file and line.
struct Report {
  Fault fault;
  std::string kernel;
  unsigned block_x = 0;
  unsigned block_y = 0;
  unsigned thread = 0;
  std::string file;
  int line = 0;
  std::string text;  ///< what happened, in words

  /// "rms_norm_warp, block 3, thread 17, kernels/rms_norm.cu:21: race: ..."
  std::string str() const;
};

/// The source place of a return address.
struct Place {
  std::string file;
  int line = 0;
};
Place place_of(const void* return_address);

}  // namespace simt
