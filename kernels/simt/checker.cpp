#include "kernels/simt/checker.hpp"

#include <sys/mman.h>

#include <algorithm>
#include <cstring>
#include <map>
#include <mutex>
#include <new>

#include "kernels/simt/accesses.hpp"
#include "kernels/simt/clocks.hpp"

namespace simt::checker {
namespace {

constexpr std::size_t kPage = 4096;
constexpr std::size_t kGuard = 256 * 1024;       // between buffers: costs address space only
constexpr std::size_t kBlockArena = 256 * 1024;  // kSharedBytes, and guard zones for 800 pieces

struct Piece {
  std::size_t bytes;
  std::string owner;
  bool live;
};

struct Memory {
  std::mutex mutex;
  std::uintptr_t used = kArena + kGuard;  // of what belongs to the device
  std::uintptr_t pinned_used = kPinned + kGuard;
  std::map<std::uintptr_t, Piece> pieces;  // by address; released ones too, for what reports say of them
  std::vector<std::byte*> free_arenas;

  Memory() {
    for (const auto& [address, bytes] :
         {std::pair{kArena, kArenaBytes}, std::pair{kCells, kArenaBytes * 4},
          std::pair{kByteCells, kArenaBytes * 16}, std::pair{kReadonlyReaders, kArenaBytes * 2}}) {
      void* const wanted = reinterpret_cast<void*>(address);
      const int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED_NOREPLACE;
      if (mmap(wanted, bytes, PROT_READ | PROT_WRITE, flags, -1, 0) != wanted) throw std::bad_alloc();
    }
  }
  std::uintptr_t take(std::size_t bytes) { return take(bytes, used, kPinned); }
  std::uintptr_t take_pinned(std::size_t bytes) { return take(bytes, pinned_used, kArena + kArenaBytes); }
  static std::uintptr_t take(std::size_t bytes, std::uintptr_t& used, std::uintptr_t end) {
    const std::size_t room = (bytes + kPage - 1) / kPage * kPage + kGuard;
    if (bytes > kArenaBytes || used + room > end) return 0;
    const std::uintptr_t address = used;
    used += room;
    return address;
  }
  /// The piece that lies at or before the address.
  std::map<std::uintptr_t, Piece>::iterator at_or_before(std::uintptr_t address) {
    auto next = pieces.upper_bound(address);
    return next == pieces.begin() ? pieces.end() : std::prev(next);
  }
};

Memory& memory() {
  static Memory instance;
  return instance;
}

/// All cells of [address, address + bytes) get this writer and no reader. The address is a multiple of 4.
void fill_cells(std::uintptr_t address, std::size_t bytes, Id writer) {
  Cell* const cells = cell_of(address);
  for (std::size_t i = 0; i < bytes / 4; ++i) cells[i] = {writer, 0};
  if (bytes % 4 == 0) return;
  for (std::size_t i = 0; i < 4; ++i)
    byte_cell_of(address + bytes / 4 * 4)[i] = {i < bytes % 4 ? writer : kNowhere, 0};
  cells[bytes / 4] = {kByBytes, 0};
}

/// Gives pages that hold nothing any more back; they read as 0 again: kNowhere.
void clear_pages(void* low, std::size_t bytes) { madvise(low, bytes, MADV_DONTNEED); }

void change_id(Id& id, Id (*change)(Id, const void*), const void* context) {
  Id seen = load(id);
  for (;;) {
    if (seen <= kHost || seen >= kSplitting) return;
    if (__atomic_compare_exchange_n(&id, &seen, change(seen, context), true, __ATOMIC_RELAXED,
                                    __ATOMIC_RELAXED))
      return;
  }
}

Report host_report(const char* name, Fault fault, const std::string& text) {
  return {fault, name, 0, 0, 0, "host", 0, text};
}

/// Whether [address, address + bytes) lies in one live buffer; reports if not.
bool host_may(const char* name, Fault fault, std::uintptr_t address, std::size_t bytes,
              std::vector<Report>& reports) {
  {
    Memory& m = memory();
    const std::lock_guard lock(m.mutex);
    const auto at = m.at_or_before(address);
    if (at != m.pieces.end() && at->second.live && address - at->first <= at->second.bytes &&
        bytes <= at->second.bytes - (address - at->first)) {
      return true;
    }
  }
  reports.push_back(host_report(name, fault, std::to_string(bytes) + " bytes " + describe(address)));
  return false;
}

bool never_written(std::uintptr_t address) {
  const Id writer = load(cell_of(address)->writer);
  return (writer == kByBytes ? load(byte_cell_of(address)->writer) : writer) == kNever;
}

template <bool kWrite>
bool host_access(const char* name, const void* at, std::size_t bytes, std::vector<Report>& reports) {
  const auto address = reinterpret_cast<std::uintptr_t>(at);
  if (!host_may(name, kWrite ? Fault::out_of_bounds_write : Fault::out_of_bounds_read, address, bytes,
                reports))
    return false;
  LaunchClock* const copy = begin_copy(name);
  const Actor actor{Id{copy->first_task} << kTaskShift, copy->before_id, copy, nullptr};
  std::size_t n_never = 0;
  std::size_t first_never = 0;
  Finding race;
  for (std::size_t i = 0; i < bytes;) {
    const std::uintptr_t here = address + i;
    const std::size_t n = std::min<std::size_t>(4 - here % 4, bytes - i);
    if (n == 4) {
      Cell& cell = *cell_of(here);
      const bool quick = kWrite ? quick_write(cell, actor.me, actor.before)
                                : quick_read(cell, actor.me, actor.before, actor.me);
      if (quick) {
        i += n;
        continue;
      }
    }
    for (std::size_t j = i; !kWrite && j < i + n; ++j) {
      if (!never_written(address + j)) continue;
      if (n_never++ == 0) first_never = j;
    }
    const Finding found = look_at(here, n, {kWrite, false}, actor);
    if (found.kind != Finding::nothing && found.kind != Finding::never_written) race = found;
    i += n;
  }
  launch_ends(copy);
  if (n_never != 0) {
    reports.push_back(host_report(name, Fault::uninitialized_read,
                                  std::to_string(n_never) + " bytes have never been written, the first " +
                                      describe(address + first_never)));
  }
  if (race.kind != Finding::nothing) {
    reports.push_back(host_report(name, Fault::race, describe_race(race) + ", " + describe(race.address)));
  }
  return true;
}

}  // namespace

void rewrite_shadow(Id (*change)(Id id, const void* context), const void* context) {
  Memory& m = memory();
  const std::lock_guard lock(m.mutex);
  for (const auto& [address, piece] : m.pieces) {
    if (!piece.live) continue;
    for (std::size_t i = 0; i < piece.bytes; i += 4) {
      Cell& cell = *cell_of(address + i);
      if (load(cell.writer) != kByBytes) {
        change_id(cell.writer, change, context);
        change_id(cell.reader, change, context);
        continue;
      }
      for (std::size_t j = 0; j < 4; ++j) {
        Cell& byte = byte_cell_of(address + i)[j];
        change_id(byte.writer, change, context);
        change_id(byte.reader, change, context);
      }
    }
  }
}

void forget_readonly_readers() {
  Memory& m = memory();
  const std::lock_guard lock(m.mutex);
  for (const auto& [address, piece] : m.pieces) {
    if (piece.live)
      clear_pages(readonly_reader_of(address / kPage * kPage), (piece.bytes + 2 * kPage) / kPage * kPage * 2);
  }
}

std::string describe(std::uintptr_t address) {
  if (address - kArena >= kArenaBytes) return "of host memory";
  Memory& m = memory();
  const std::lock_guard lock(m.mutex);
  const auto name = [](const Piece& piece) {
    return "'" + piece.owner + "' (" + std::to_string(piece.bytes) + " bytes" +
           (piece.live ? "" : ", released") + ")";
  };
  const auto below = m.at_or_before(address);
  if (below != m.pieces.end() && address - below->first < below->second.bytes) {
    return "at byte " + std::to_string(address - below->first) + " of " + name(below->second);
  }
  const auto above = m.pieces.upper_bound(address);
  const std::size_t behind =
      below == m.pieces.end() ? kArenaBytes : address - (below->first + below->second.bytes);
  const std::size_t ahead = above == m.pieces.end() ? kArenaBytes : above->first - address;
  if (behind <= ahead && behind != kArenaBytes)
    return std::to_string(behind) + " bytes behind the end of " + name(below->second);
  if (ahead != kArenaBytes)
    return std::to_string(ahead) + " bytes before the start of " + name(above->second);
  return "of device memory that nobody holds";
}

std::byte* allocate(std::size_t bytes, const std::string& owner) {
  Memory& m = memory();
  std::uintptr_t address = 0;
  {
    const std::lock_guard lock(m.mutex);
    address = m.take(bytes);
    if (address == 0) return nullptr;
    m.pieces[address] = {bytes, owner, true};
  }
  fill_cells(address, bytes, kNever);
  auto* const result = reinterpret_cast<std::byte*>(address);
  std::memset(result, 0xff, bytes);
  return result;
}

std::byte* allocate_pinned(std::size_t bytes) {
  Memory& m = memory();
  std::uintptr_t address = 0;
  {
    const std::lock_guard lock(m.mutex);
    address = m.take_pinned(bytes);
    if (address == 0) return nullptr;
    m.pieces[address] = {bytes, "pinned memory", true};
  }
  fill_cells(address, bytes, kHost);
  return reinterpret_cast<std::byte*>(address);
}

void release(std::byte* released) {
  const auto address = reinterpret_cast<std::uintptr_t>(released);
  Memory& m = memory();
  const std::lock_guard lock(m.mutex);
  Piece& piece = m.pieces.at(address);
  piece.live = false;
  const std::size_t bytes = (piece.bytes + kPage - 1) / kPage * kPage;
  clear_pages(released, bytes);
  clear_pages(cell_of(address), bytes * 4);
  clear_pages(byte_cell_of(address), bytes * 16);
  clear_pages(readonly_reader_of(address), bytes * 2);
}

std::byte* take_arena() {
  Memory& m = memory();
  const std::lock_guard lock(m.mutex);
  if (m.free_arenas.empty()) return reinterpret_cast<std::byte*>(m.take(kBlockArena));
  std::byte* const arena = m.free_arenas.back();
  m.free_arenas.pop_back();
  return arena;
}

void give_arena(std::byte* arena) {
  Memory& m = memory();
  const std::lock_guard lock(m.mutex);
  m.free_arenas.push_back(arena);
}

void shared_allocated(Block&, std::byte* piece, std::size_t bytes) {
  if (bytes == 0) return;
  const auto address = reinterpret_cast<std::uintptr_t>(piece);
  fill_cells(address, bytes, kNever);
  Memory& m = memory();
  const std::lock_guard lock(m.mutex);
  m.pieces[address] = {bytes, "shared memory", true};
}

void block_ends(Block& block) {
  end_clock(*block.clock);
  const auto arena = reinterpret_cast<std::uintptr_t>(block.arena);
  Memory& m = memory();
  const std::lock_guard lock(m.mutex);
  const auto low = m.pieces.lower_bound(arena);
  const auto high = m.pieces.lower_bound(arena + kBlockArena);
  for (auto at = low; at != high; ++at) fill_cells(at->first, (at->second.bytes + 3) / 4 * 4, kNowhere);
  m.pieces.erase(low, high);
}

bool host_wrote(const void* at, std::size_t bytes, std::vector<Report>& reports) {
  return host_access<true>("copy_to_device", at, bytes, reports);
}

bool host_reads(const void* at, std::size_t bytes, std::vector<Report>& reports) {
  return host_access<false>("copy_to_host", at, bytes, reports);
}

}  // namespace simt::checker
