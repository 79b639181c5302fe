#pragma once
#include <immintrin.h>

#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "kernels/chip.hpp"
#include "kernels/simt/fiber.hpp"
#include "kernels/simt/report.hpp"

/// How the threads of a block take turns: every CUDA thread is a Lane; a lane that waits is not resumed
/// before what it waits for has happened. Who may run is a bit mask a warp and a bit mask of warps a block;
/// choosing the next is one bit operation.
namespace simt {

#if defined(M40LLM_CHECKED)
inline constexpr bool kChecked = true;
#else
inline constexpr bool kChecked = false;
#endif

inline constexpr unsigned kWarpSize = 32;
inline constexpr std::uint32_t kFullMask = 0xffffffffu;
inline constexpr std::size_t kSharedBytes = m40llm::kGm200.shared_bytes_per_block;  // a block

/// In which order lanes, warps and blocks run where the program leaves it open.
struct Order {
  enum class Kind { ascending, descending, random };
  Kind kind = Kind::ascending;
  std::uint64_t seed = 0;
};

struct Warp;
struct Block;
struct Worker;
namespace checker {
struct BlockClock;
}

/// What a lane is waiting for, told in reports.
enum class Wait : std::uint8_t { nothing, barrier, collective, spin, exited };

struct Lane {
  Fiber* fiber = nullptr;  // null: not started, or finished
  Warp* warp = nullptr;
  Block* block = nullptr;
  unsigned thread = 0;  // in the block
  Wait wait = Wait::nothing;
  const void* site = nullptr;  // where it waits
  bool (*spin_done)(const void* closure) = nullptr;
  const void* spin_closure = nullptr;
#if defined(M40LLM_CHECKED)
  std::uint64_t id = 0;      // who it is and at what time, in the shadow of memory (shadow.hpp)
  std::uint64_t before = 0;  // all ids below are of work ordered before what it does now
  bool waited = true;        // for earlier kernels, where its launch overlaps them
  std::uint64_t first = 0;   // the launch's own ids start here
#endif

  unsigned index() const { return thread % kWarpSize; }
  std::uint32_t bit() const { return 1u << index(); }
};

enum class CollectiveKind : std::uint8_t { sync, sums, max, shuffle, ballot };

/// What a collective of the kind `sums` is to do: so many values, each over so many adjacent lanes.
struct Sums {
  unsigned values, lanes;
  std::uint32_t packed() const { return values << 8 | lanes; }
  static Sums unpacked(std::uint32_t argument) { return {argument >> 8, argument & 0xff}; }
};

/// A warp's collective that some of its lanes have come to.
struct Collective {
  std::uint32_t mask = 0;  // the lanes named; 0: free
  std::uint32_t arrived = 0;
  CollectiveKind kind = CollectiveKind::sync;
};

struct Warp {
  Lane* lanes = nullptr;  // 32
  std::uint32_t runnable = 0;
  std::uint32_t exited = 0;
  std::uint32_t at_barrier = 0;
  std::uint32_t spinning = 0;
  unsigned index = 0;  // in the block
  std::array<Collective, 8> collectives;
  std::array<std::uint64_t, kWarpSize> in;        // what each lane brings to a collective,
  std::array<std::uint32_t, kWarpSize> argument;  // with its source lane or its Sums,
  std::array<std::uint64_t, kWarpSize> out;       // and what it gets
};

/// One piece of static shared memory, named by its place in the code.
struct SharedSite {
  const void* site;
  std::byte* address;
};

struct Block {
  Worker* worker = nullptr;
  Order::Kind order = Order::Kind::ascending;
  unsigned x = 0, y = 0;
  unsigned threads = 0;
  unsigned grid_x = 1, grid_y = 1;
  std::uint32_t ready_warps = 0;  // warps with a runnable lane that no spin of their own holds
  unsigned current_warp = 0;
  unsigned n_exited = 0;
  unsigned n_at_barrier = 0;
  unsigned n_spinning = 0;
  const void* barrier_site = nullptr;  // where the first to come to the barrier waits,
  bool barrier_mixed = false;          // and whether others wait elsewhere
  std::uint64_t random = 0;
  const void* polled = nullptr;  // by raw loads
  std::uint64_t n_polls = 0;
  bool failed = false;         // cannot go on: the worker gives it up
  std::byte* arena = nullptr;  // kSharedBytes
  std::size_t arena_used = 0;
  std::byte* dynamic_shared = nullptr;
  std::vector<SharedSite> shared_sites;
  std::vector<Lane> lanes;
  std::vector<Warp> warps;
#if defined(M40LLM_CHECKED)
  std::shared_ptr<checker::BlockClock> clock;
#endif

  bool done() const { return n_exited == threads; }
  /// The lane to run next, or null if all wait.
  Lane* pick() {
    if (ready_warps == 0) return nullptr;
    if (order == Order::Kind::random || (ready_warps >> current_warp & 1) == 0)
      current_warp = choose(ready_warps);
    Warp& warp = warps[current_warp];
    const unsigned lane = choose(warp.runnable);
    warp.runnable &= ~(1u << lane);
    if (warp.runnable == 0) ready_warps &= ~(1u << current_warp);
    return &warp.lanes[lane];
  }
  /// One of the bits set in mask, by the order asked for.
  unsigned choose(std::uint32_t mask) {
    if (order == Order::Kind::ascending) [[likely]]
      return static_cast<unsigned>(std::countr_zero(mask));
    if (order == Order::Kind::descending) return 31u - static_cast<unsigned>(std::countl_zero(mask));
    random ^= random >> 12;  // xorshift64* (Vigna, 2016)
    random ^= random << 25;
    random ^= random >> 27;
    const unsigned nth = static_cast<unsigned>(random * 0x2545f4914f6cdd1dull >> 32) %
                         static_cast<unsigned>(std::popcount(mask));
    return static_cast<unsigned>(std::countr_zero(_pdep_u32(1u << nth, mask)));
  }
  void make_runnable(Warp& warp, std::uint32_t mask) {
    warp.runnable |= mask;
    if (warp.spinning == 0 && warp.runnable != 0) ready_warps |= 1u << warp.index;
  }
  /// Called when lanes have come to the barrier or have ended: lets everybody on if nobody is missing.
  void try_barrier();
};

/// The lane that runs on this OS thread.
extern constinit thread_local Lane* current;

// A lane's place in its grid, asked for out of line: the checked build must not take the look for a kernel's
// access to memory.
[[gnu::const]] unsigned checked_thread();
[[gnu::const]] unsigned checked_block_x();
[[gnu::const]] unsigned checked_block_y();
[[gnu::const]] unsigned checked_block_size();
[[gnu::const]] unsigned checked_grid_x();
[[gnu::const]] unsigned checked_grid_y();

// What the language of kernels is made of. A report's place is where these return to.
void barrier();
/// A collective of the lanes in `mask`: each brings `in` and gets its `out` back when all have come.
std::uint64_t collective(CollectiveKind kind, std::uint32_t mask, std::uint64_t in, std::uint32_t argument);
/// Waits until done(closure). The scheduler asks; the lane is not resumed before.
void spin(bool (*done)(const void* closure), const void* closure);
/// Whether the host feeds the launch (Launch::host_fed).
bool host_fed();
/// The block's piece of shared memory of that name; the first lane to ask makes it.
std::byte* shared(const void* name, std::size_t bytes, std::size_t alignment);
std::byte* dynamic_shared();
/// To be called before a load through the read-only cache: the checked build refuses one of memory that the
/// launch writes.
void readonly_load(const void* address, std::size_t bytes);
/// The checked build orders what earlier launches did before the lane from here on.
void earlier_kernels_ended();
unsigned atomic_add(unsigned* address, unsigned value);
void atomic_add_release(unsigned* address, unsigned value);
unsigned atomic_add_acq_rel(unsigned* address, unsigned value);
void store_release(unsigned* address, unsigned value);
void store_release(unsigned long long* address, unsigned long long value);
void store_relaxed(unsigned* address, unsigned value);
unsigned load_acquire(const unsigned* address);
unsigned load_relaxed(const unsigned* address);

/// Files a fault of the running lane and goes on.
void report(Fault fault, const void* site, const std::string& text);
/// Gives up the block of the running lane, which cannot go on. Does not return if the lane runs on its own
/// fiber.
void give_up();

}  // namespace simt
