#pragma once
#include <cstddef>
#include <cstdint>

/// The shadow of device memory: for every 4 bytes one cell that says who wrote them last and who read them
/// since; four cells, one a byte, where accesses have covered a part of the 4 bytes only.
namespace simt::checker {

/// Who did an access, and when, in 64 bits: higher is later within a block.
///
/// bits   field
/// 38-63  task: a block of a launch; blocks are numbered through all launches
/// 25-37  barriers the block has passed
/// 24     readers: also other blocks
/// 23     readers: several warps in this barrier epoch
/// 22     the access was atomic
/// 17-21  warp
/// 6-16   warp epoch: counts the warp's full __syncwarps and releases since the barrier
/// 5      readers: several lanes of the warp
/// 0-4    lane
using Id = std::uint64_t;

inline constexpr unsigned kTaskShift = 38;
inline constexpr unsigned kBarrierShift = 25;
inline constexpr unsigned kWarpShift = 17;
inline constexpr unsigned kWarpEpochShift = 6;
inline constexpr std::uint32_t kMaxTask = (1u << 26) - 2;  // the last is for the marks below
inline constexpr std::uint32_t kMaxBarrier = (1u << 13) - 1;
inline constexpr std::uint32_t kMaxWarpEpoch = (1u << 11) - 1;
inline constexpr Id kTask = ~Id{0} << kTaskShift;
inline constexpr Id kBarrier = Id{kMaxBarrier} << kBarrierShift;
inline constexpr Id kBlocks = Id{1} << 24;
inline constexpr Id kWarps = Id{1} << 23;
inline constexpr Id kAtomic = Id{1} << 22;
inline constexpr Id kLanes = Id{1} << 5;

constexpr std::uint32_t task_of(Id id) { return static_cast<std::uint32_t>(id >> kTaskShift); }
constexpr std::uint32_t barrier_of(Id id) {
  return static_cast<std::uint32_t>(id >> kBarrierShift) & kMaxBarrier;
}
constexpr std::uint32_t warp_of(Id id) { return static_cast<std::uint32_t>(id >> kWarpShift) & 31; }
constexpr std::uint32_t warp_epoch_of(Id id) {
  return static_cast<std::uint32_t>(id >> kWarpEpochShift) & kMaxWarpEpoch;
}
constexpr std::uint32_t lane_of(Id id) { return static_cast<std::uint32_t>(id) & 31; }
constexpr std::uint32_t thread_of(Id id) { return warp_of(id) * 32 + lane_of(id); }
constexpr Id make_id(std::uint32_t task, std::uint32_t barrier, std::uint32_t warp, std::uint32_t warp_epoch,
                     std::uint32_t lane) {
  return Id{task} << kTaskShift | Id{barrier} << kBarrierShift | Id{warp} << kWarpShift |
         Id{warp_epoch} << kWarpEpochShift | lane;
}

// Marks in place of a writer. A reader of 0 is nobody.
inline constexpr Id kNowhere = 0;             // no memory: a guard zone, or released
inline constexpr Id kHost = 1;                // written before every task
inline constexpr Id kNever = ~Id{0};          // never written
inline constexpr Id kByBytes = ~Id{0} - 1;    // the byte cells say
inline constexpr Id kSplitting = ~Id{0} - 2;  // somebody is filling the byte cells

struct alignas(16) Cell {
  Id writer;
  Id reader;
};

// Three ranges of address space at fixed places, so that from an address to its cell is one addition.
inline constexpr std::uintptr_t kArena = 0x1000'0000'0000;
inline constexpr std::size_t kArenaBytes = std::size_t{1} << 40;
inline constexpr std::uintptr_t kCells = 0x1100'0000'0000;
inline constexpr std::uintptr_t kByteCells = 0x2000'0000'0000;
inline constexpr std::uintptr_t kPinned = kArena + kArenaBytes / 4 * 3;  // to the arena's end: pinned memory
inline constexpr std::uintptr_t kReadonlyReaders = 0x1600'0000'0000;

inline Cell* cell_of(std::uintptr_t address) {
  return reinterpret_cast<Cell*>(kCells + (address - kArena) / 4 * sizeof(Cell));
}
inline Cell* byte_cell_of(std::uintptr_t address) {
  return reinterpret_cast<Cell*>(kByteCells + (address - kArena) * sizeof(Cell));
}

/// Who of a launch has read of the 4 bytes through the read-only cache, which does not see what is written while
/// the launch runs: the last to do so, and in place of its warp epoch a bit for each byte that anybody of the
/// launch has read. 0: nobody.
inline Id* readonly_reader_of(std::uintptr_t address) {
  return reinterpret_cast<Id*>(kReadonlyReaders + (address - kArena) / 4 * sizeof(Id));
}
inline constexpr Id kReadonlyBytes = Id{15} << kWarpEpochShift;

// Several OS threads look at one cell. An update that gets lost between a load and a store costs a report,
// never makes a false one.
inline Id load(const Id& id) { return __atomic_load_n(&id, __ATOMIC_RELAXED); }
inline void store(Id& id, Id value) { __atomic_store_n(&id, value, __ATOMIC_RELAXED); }

/// Notes a read by `me`, if a few looks suffice to see that it is in order: what it reads comes from an
/// earlier launch (below `before`), from the block before its last barrier, or from the thread itself.
/// `first`: where the launch's own ids start.
inline bool quick_read(Cell& cell, Id me, Id before, Id first) {
  const Id block = me & kTask;
  const Id since = me & kBarrier;
  const Id writer = load(cell.writer);
  if (writer - 1 >= before - 1 && writer - block >= since && writer != me) return false;
  const Id reader = load(cell.reader);
  if (reader == me) return true;
  const Id differs = reader ^ me;
  if ((differs & (kTask | kBarrier)) == 0) {  // the block has read it since its last barrier
    if ((reader & (kWarps | kAtomic)) == kWarps) return true;
    if ((reader & kAtomic) != 0 || (differs & Id{31} << kWarpShift) == 0) return false;
    store(cell.reader, me | kWarps | (reader & kBlocks));
    return true;
  }
  if (reader < before) {
    store(cell.reader, me);
  } else if ((differs & kTask) == 0) {
    store(cell.reader, me | (reader & kBlocks));
  } else if (reader >= first) {
    store(cell.reader, me | kBlocks);
  } else {
    return false;
  }
  return true;
}

/// Likewise a write; it must also come after all reads.
inline bool quick_write(Cell& cell, Id me, Id before) {
  const Id block = me & kTask;
  const Id since = me & kBarrier;
  const Id writer = load(cell.writer);
  if (writer - 1 >= before - 1 && writer - block >= since && writer != me && writer != kNever) return false;
  const Id reader = load(cell.reader);
  if (reader >= before && reader != me && (reader - block >= since || (reader & kBlocks) != 0)) return false;
  store(cell.writer, me);
  if (reader != 0) store(cell.reader, 0);
  return true;
}

}  // namespace simt::checker
