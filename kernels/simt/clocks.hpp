#pragma once
#include <array>
#include <atomic>
#include <deque>
#include <map>
#include <mutex>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "kernels/simt/checker.hpp"
#include "kernels/simt/shadow.hpp"

/// What happened before what. Within a block it is read off two identities; between blocks it follows from
/// releases and acquires, between launches from streams, events and the host's waits.
namespace simt::checker {

/// What of a block is known to be done: all before its `barrier`-th barrier, and what releasing threads had
/// behind them then.
struct Known {
  struct Part {
    std::uint32_t warp, lane;
    std::uint32_t ordered;     // of its warp, all below this warp epoch
    std::uint32_t warp_epoch;  // of itself, all up to this one
  };
  std::uint32_t barrier = 0;
  std::vector<Part> parts;

  bool covers(Id id) const;
  void join(const Known& other);
};

/// What of each block is known, sorted by task.
using Clock = std::vector<std::pair<std::uint32_t, Known>>;

struct LaunchClock {
  std::uint32_t first_task = 0;
  std::uint32_t n_tasks = 1;
  unsigned stream = 0;
  std::uint64_t turn = 0;  // in its stream
  Times before;            // what comes before it
  Id before_id = 0;        // all identities below are ordered before it
  // What comes before what it does until it waits for earlier kernels: of its own stream all up to this turn. The kernel
  // before it may still run, and so may those that that one began beside.
  std::uint64_t early_turn = 0;
  Id early_id = 0;
  std::string kernel;
  unsigned grid_x = 1;
  std::atomic<bool> released = false;  // one of its blocks has released something
  std::mutex mutex;
  std::set<std::pair<int, const void*>> reported;  // what kind of fault, where: one of each is enough

  bool holds(std::uint32_t task) const { return task - first_task < n_tasks; }
};

/// A running block's place in time.
struct BlockClock {
  struct WarpClock {
    std::uint32_t epoch = 0;
    std::uint32_t ordered = 0;  // all of the warp below this epoch is ordered before all of it now
    std::array<std::uint32_t, kWarpSize> partners{};  // lanes met in __syncwarps of a part of the warp since
    Clock acquired;                                   // by its lanes, passed on by a full __syncwarp
  };
  LaunchClock* launch = nullptr;
  std::uint32_t task = 0;
  std::uint32_t barrier = 0;
  std::array<WarpClock, 32> warps;
  Clock acquired;                     // known to all its threads
  std::map<unsigned, Clock> threads;  // what single threads acquired since the last barrier
};

/// Who does an access: a lane, or the host in a stream's order.
struct Actor {
  Id me;
  Id before;
  LaunchClock* launch;
  const Lane* lane;  // null: the host

  static Actor of(const Lane& lane);
};

/// Whether what `id` stands for happened before what the actor does now.
bool ordered(Id id, const Actor& actor);
/// What is written for reader when `actor` reads after `reader` did.
Id joined_readers(Id reader, const Actor& actor);
/// "thread 3 of block 2 of kernel".
std::string who(Id id);

/// A copy that starts now on the calling thread's stream.
LaunchClock* begin_copy(const std::string& name);
/// The block's identities stay in the shadow; its clocks are needed no more.
void end_clock(BlockClock& block);

/// The lane releases at a word; `keeps`: what others released there stays (a read-modify-write).
void release(const Actor& actor, std::uintptr_t address, bool keeps);
void acquire(const Actor& actor, std::uintptr_t address);
/// The word was stored to without a release: nothing can be acquired from it.
void forget(std::uintptr_t address);

/// Calls change(id) for every identity in the shadow of live memory and stores what it returns. Defined with
/// the memory.
void rewrite_shadow(Id (*change)(Id id, const void* context), const void* context);

/// No word has been read through the read-only cache. Defined with the memory.
void forget_readonly_readers();

}  // namespace simt::checker
