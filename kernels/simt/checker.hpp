#pragma once
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "kernels/simt/scheduler.hpp"

/// The checked build's memory and its shadow. Kernels are compiled with -fsanitize=thread for the calls that
/// it plants at every load and store; accesses.cpp answers those calls itself. Nothing here is called in
/// other builds.
namespace simt {
struct Launch;
}
namespace simt::checker {

/// Device memory with guard zones on both sides; contents count as never written. Null when the arena is
/// full. Addresses are not used again: what has been released stays known as such.
std::byte* allocate(std::size_t bytes, const std::string& owner);
void release(std::byte* memory);
/// Pinned memory, which the host reads and writes by itself, unseen: it counts as written, and what one kernel
/// releases there another may acquire through the host. Races between kernels are reported all the same.
std::byte* allocate_pinned(std::size_t bytes);

/// How far the work of every stream is known to be done, by the stream's number.
using Times = std::vector<std::uint64_t>;
/// Joins b into a.
void join(Times& a, const Times& b);

/// What a stream's work comes after. Touched by the stream's thread; by others only while it is idle.
struct StreamClock {
  StreamClock();
  unsigned number;
  Times times;
  /// What a kernel that does not wait for the last one comes after: all up to this turn, below this identity. Of no
  /// matter if the last was a copy.
  std::uint64_t early_turn = 0;
  std::uint64_t early_id = 0;
  bool last_was_kernel = false;
};
/// The calling thread works on this stream from now on; threads that never say so share one.
void enter(StreamClock* stream);
/// What the host has waited for comes before whatever it submits from now on.
Times host_times();
void host_waited(const Times& times);

/// A copy or fill in the calling thread's stream order wrote or reads device memory: writes make it
/// initialised; reads of never-written bytes, either out of bounds, and either unordered to what other
/// streams do are reported. False: the memory is none of the device's, and must not be touched.
bool host_wrote(const void* memory, std::size_t bytes, std::vector<Report>& reports);
bool host_reads(const void* memory, std::size_t bytes, std::vector<Report>& reports);

struct LaunchClock;
struct BlockClock;
/// What ran in an earlier launch happened before a later one on the same stream; before one that overlaps, from where its
/// lanes have waited for earlier kernels.
LaunchClock* launch_begins(const Launch& launch);
void launch_ends(LaunchClock* launch);
/// Address space for a block's shared memory, guard zones between its pieces included.
std::byte* take_arena();
void give_arena(std::byte* arena);
/// Bytes between two pieces.
inline constexpr std::size_t kSharedGuard = 256;

void block_begins(Block& block, LaunchClock* launch);
/// [address, address + bytes) of the running block's arena is one piece of shared memory, never written.
void shared_allocated(Block& block, std::byte* address, std::size_t bytes);
void block_ends(Block& block);

/// The running lane waits for earlier kernels.
void earlier_kernels_ended();

void barrier_passed(Block& block);
/// The lanes of `mask` passed a __syncwarp.
void warp_synchronized(Warp& warp, std::uint32_t mask);

enum class Atomic { load, store, update };
enum class MemoryOrder { relaxed, acquire, release };
/// The running lane does an atomic access of a word of 4 or 8 bytes: called before one that releases, after one that
/// acquires.
void atomic_access(const void* address, Atomic access, MemoryOrder order, const void* site,
                   std::size_t bytes = 4);

/// The running lane is about to load through the read-only cache.
void readonly_load(const void* address, std::size_t bytes, const void* site);

/// How many blocks may begin before old cells are renumbered; tests make it small.
void set_task_limit(std::uint32_t limit);

}  // namespace simt::checker
