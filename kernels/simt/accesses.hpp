#pragma once
#include <cstddef>
#include <cstdint>
#include <string>

#include "kernels/simt/clocks.hpp"

/// Single accesses, looked at with all that the clocks know.
namespace simt::checker {

struct Access {
  bool write;
  bool atomic;
};

/// The first thing wrong with an access.
struct Finding {
  enum Kind { nothing, nowhere, never_written, write_after_write, read_after_write, write_after_read };
  Kind kind = nothing;
  Id other = 0;  // of a race
  std::uintptr_t address = 0;
};

/// Judges an access to `bytes` of one 4-byte word of the arena and notes it in the shadow.
Finding look_at(std::uintptr_t address, std::size_t bytes, Access access, const Actor& actor);

/// "at byte 12 of 'weights' (64 bytes)", "4 bytes behind the end of ...".
std::string describe(std::uintptr_t address);
/// "write after write: thread 3 of block 2 of k wrote it, and nothing orders the two".
std::string describe_race(const Finding& race);

}  // namespace simt::checker
