// The calls that -fsanitize=thread plants in kernels, answered here: TSan itself is not linked.
#include "kernels/simt/accesses.hpp"

#include <link.h>

#include <algorithm>
#include <vector>

namespace simt::checker {
namespace {

/// Judges one cell and notes the access in it.
Finding::Kind look_at_cell(Cell& cell, Access access, const Actor& actor, Id& other) {
  const Id writer = load(cell.writer);
  if (writer == kNowhere) return Finding::nowhere;
  const bool both_atomic = access.atomic && writer < kSplitting && (writer & kAtomic) != 0;
  Finding::Kind found = Finding::nothing;
  if (writer == kNever) {
    if (!access.write) found = Finding::never_written;
  } else if (!both_atomic && !ordered(writer, actor)) {
    other = writer;
    found = access.write ? Finding::write_after_write : Finding::read_after_write;
  }
  const Id reader = load(cell.reader);
  if (access.write) {
    if (found == Finding::nothing && reader != 0 && !(access.atomic && (reader & kAtomic) != 0) &&
        !ordered(reader, actor)) {
      other = reader;
      found = Finding::write_after_read;
    }
    store(cell.writer, access.atomic ? actor.me | kAtomic : actor.me);
    store(cell.reader, 0);
  } else if (!access.atomic) {
    store(cell.reader, joined_readers(reader, actor));
  } else if ((reader & kAtomic) != 0 || reader == 0 ||
             ordered(reader, actor)) {  // else the plain reader says more
    store(cell.reader, actor.me | kAtomic);
  }
  return found;
}

/// The word's bytes get cells of their own.
void split(Cell& cell, std::uintptr_t word) {
  for (;;) {
    Id writer = __atomic_load_n(&cell.writer, __ATOMIC_ACQUIRE);
    if (writer == kByBytes) return;
    if (writer == kSplitting) continue;
    if (!__atomic_compare_exchange_n(&cell.writer, &writer, kSplitting, false, __ATOMIC_ACQUIRE,
                                     __ATOMIC_RELAXED))
      continue;
    const Id reader = load(cell.reader);
    for (std::size_t i = 0; i < 4; ++i) {
      store(byte_cell_of(word)[i].writer, writer);
      store(byte_cell_of(word)[i].reader, reader);
    }
    __atomic_store_n(&cell.writer, kByBytes, __ATOMIC_RELEASE);
    return;
  }
}

/// Whether the address is static data of the program or one of its libraries.
bool is_static(std::uintptr_t address) {
  struct Range {
    std::uintptr_t low, high;
  };
  static const std::vector<Range> ranges = [] {
    std::vector<Range> found;
    dl_iterate_phdr(
        [](dl_phdr_info* info, std::size_t, void* data) {
          for (int i = 0; i < info->dlpi_phnum; ++i) {
            const auto& header = info->dlpi_phdr[i];
            if (header.p_type != PT_LOAD) continue;
            const std::uintptr_t low = info->dlpi_addr + header.p_vaddr;
            static_cast<std::vector<Range>*>(data)->push_back({low, low + header.p_memsz});
          }
          return 0;
        },
        &found);
    return found;
  }();
  return std::ranges::any_of(ranges, [&](const Range& r) { return address >= r.low && address < r.high; });
}

bool is_new(Fault fault, const void* site) {
  LaunchClock& launch = *current->block->clock->launch;
  const std::lock_guard lock(launch.mutex);
  return launch.reported.emplace(static_cast<int>(fault), site).second;
}

std::string sized(std::size_t bytes) { return std::to_string(bytes) + (bytes == 1 ? " byte " : " bytes "); }

/// Outside the arena: a kernel may look at its stack and at constants.
[[gnu::noinline]] void outside_arena(std::uintptr_t address, std::size_t bytes, bool write,
                                     const void* site) {
  if (current->fiber != nullptr && current->fiber->holds(reinterpret_cast<const void*>(address))) return;
  if (is_static(address)) return;
  const Fault fault = write ? Fault::out_of_bounds_write : Fault::out_of_bounds_read;
  if (is_new(fault, site)) report(fault, site, sized(bytes) + describe(address));
  give_up();  // going on would most likely crash
}

[[gnu::noinline, gnu::cold]] void misaligned(std::uintptr_t address, std::size_t bytes, const void* site) {
  if (!is_new(Fault::misaligned, site)) return;
  report(Fault::misaligned, site,
         "an access of " + sized(bytes) + describe(address) + ", an address that is no multiple of " +
             std::to_string(bytes));
}

void tell(const Finding& found, std::size_t bytes, Access access, const void* site) {
  Fault fault = Fault::race;
  if (found.kind == Finding::nowhere)
    fault = access.write ? Fault::out_of_bounds_write : Fault::out_of_bounds_read;
  if (found.kind == Finding::never_written) fault = Fault::uninitialized_read;
  if (!is_new(fault, site)) return;
  const std::string where = describe(found.address);
  report(fault, site, fault == Fault::race ? describe_race(found) + ", " + where : sized(bytes) + where);
}

/// An access of any size, word by word.
[[gnu::noinline]] void look_closely(std::uintptr_t address, std::size_t bytes, Access access,
                                    const void* site) {
  const Actor actor = Actor::of(*current);
  Finding first;
  for (std::uintptr_t at = address; at != address + bytes;) {
    const std::size_t n = std::min<std::size_t>(4 - at % 4, address + bytes - at);
    const Finding found = look_at(at, n, access, actor);
    if (first.kind == Finding::nothing) first = found;
    at += n;
  }
  if (first.kind != Finding::nothing) tell(first, bytes, access, site);
}

bool of_this_launch(Id id, const Lane& lane) {
  return id >= lane.first && id < kSplitting && lane.block->clock->launch->holds(task_of(id));
}

/// The bits of kReadonlyBytes for bytes [address, address + bytes) of the word at `word`.
Id readonly_bytes(std::uintptr_t word, std::uintptr_t address, std::size_t bytes) {
  Id bits = 0;
  for (std::uintptr_t i = 0; i < 4; ++i) {
    if (word + i - address < bytes) bits |= Id{1} << (kWarpEpochShift + i);
  }
  return bits;
}

/// Whether a word of these has been read through the read-only cache by the launch, or a later one.
bool maybe_read_readonly(std::uintptr_t address, std::size_t bytes, Id first) {
  bool any = false;
  for (std::uintptr_t word = address / 4 * 4; word < address + bytes; word += 4)
    any |= load(*readonly_reader_of(word)) >= first;
  return any;
}

void tell_readonly(std::uintptr_t address, std::size_t bytes, const std::string& what, const void* site) {
  if (is_new(Fault::readonly_written, site))
    report(Fault::readonly_written, site, sized(bytes) + describe(address) + ", " + what);
}

[[gnu::noinline]] void check_not_read_readonly(std::uintptr_t address, std::size_t bytes, const void* site) {
  for (std::uintptr_t word = address / 4 * 4; word < address + bytes; word += 4) {
    const Id reader = load(*readonly_reader_of(word));
    if ((reader & readonly_bytes(word, address, bytes)) == 0 || !of_this_launch(reader, *current)) continue;
    tell_readonly(address, bytes, "written after " + who(reader) + " read it with load_readonly()", site);
    return;
  }
}

constexpr std::size_t kStackReach = 60 * 1024;  // of a fiber

template <std::size_t kBytes, bool kWrite, bool kAligned>
[[gnu::always_inline]] inline void access(const void* pointer, const void* site) {
  const auto address = reinterpret_cast<std::uintptr_t>(pointer);
  if (address - kArena >= kArenaBytes) [[unlikely]] {
    if (address - reinterpret_cast<std::uintptr_t>(__builtin_frame_address(0)) < kStackReach)
      return;  // the caller's frames
    outside_arena(address, kBytes, kWrite, site);
    return;
  }
  if constexpr (kAligned && kBytes > 1) {
    if (address % kBytes != 0) [[unlikely]]
      misaligned(address, kBytes, site);
  }
  const Id me = current->id;
  const Id before = current->before;
  const Id first = current->first;
  const auto quick = [&](Cell& cell) {
    return kWrite ? quick_write(cell, me, before) : quick_read(cell, me, before, first);
  };
  bool all = true;
  if (kBytes >= 4 && address % 4 == 0) {
    Cell* const cells = cell_of(address);
    for (std::size_t i = 0; i < kBytes / 4; ++i) all &= quick(cells[i]);
  } else if (kBytes < 4 && address % 4 + kBytes <= 4) {
    if (load(cell_of(address)->writer) == kByBytes) {
      Cell* const cells = byte_cell_of(address);
      for (std::size_t i = 0; i < kBytes; ++i) all &= quick(cells[i]);
    } else {
      all = false;
    }
  } else {
    all = false;
  }
  if (!all) [[unlikely]]
    look_closely(address, kBytes, {kWrite, false}, site);
  if (kWrite && maybe_read_readonly(address, kBytes, first)) [[unlikely]]
    check_not_read_readonly(address, kBytes, site);
}

void access_range(const void* pointer, std::size_t bytes, bool write, const void* site) {
  const auto address = reinterpret_cast<std::uintptr_t>(pointer);
  if (address - kArena >= kArenaBytes) {
    if (address - reinterpret_cast<std::uintptr_t>(__builtin_frame_address(0)) >= kStackReach) {
      outside_arena(address, bytes, write, site);
    }
    return;
  }
  look_closely(address, bytes, {write, false}, site);
  if (write) check_not_read_readonly(address, bytes, site);
}

}  // namespace

void readonly_load(const void* pointer, std::size_t bytes, const void* site) {
  const auto address = reinterpret_cast<std::uintptr_t>(pointer);
  if (address - kArena >= kArenaBytes) return;  // the load itself is reported
  const Lane& lane = *current;
  Id writer = 0;
  for (std::uintptr_t word = address / 4 * 4; word < address + bytes; word += 4) {
    Id& reader = *readonly_reader_of(word);
    const Id before = load(reader);
    const Id all =
        (of_this_launch(before, lane) ? before & kReadonlyBytes : 0) | readonly_bytes(word, address, bytes);
    store(reader, (lane.id & ~(Id{kMaxWarpEpoch} << kWarpEpochShift)) | all);
    const Cell& cell = *cell_of(word);
    if (load(cell.writer) != kByBytes) {
      if (of_this_launch(load(cell.writer), lane)) writer = load(cell.writer);
      continue;
    }
    for (std::uintptr_t byte = std::max(word, address); byte < std::min(word + 4, address + bytes); ++byte) {
      const Id of_byte = load(byte_cell_of(byte)->writer);
      if (of_this_launch(of_byte, lane)) writer = of_byte;
    }
  }
  if (writer != 0)
    tell_readonly(address, bytes, "read with load_readonly() after " + who(writer) + " wrote it", site);
}

Finding look_at(std::uintptr_t address, std::size_t bytes, Access access, const Actor& actor) {
  Cell& cell = *cell_of(address);
  const std::uintptr_t word = address / 4 * 4;
  Finding found{Finding::nothing, 0, address};
  if (bytes < 4) {
    // A thread that is known to have read all of the word needs no cells of its own to read a part again.
    const bool noted = !access.write && load(cell.reader) == actor.me && load(cell.writer) < kSplitting;
    if (!noted && load(cell.writer) != kNowhere) split(cell, word);
  }
  while (__atomic_load_n(&cell.writer, __ATOMIC_ACQUIRE) == kSplitting) {
  }
  if (load(cell.writer) != kByBytes) {
    found.kind = look_at_cell(cell, access, actor, found.other);
    return found;
  }
  for (std::size_t i = 0; i < bytes; ++i) {
    Id other = 0;
    const Finding::Kind kind = look_at_cell(*byte_cell_of(address + i), access, actor, other);
    if (found.kind == Finding::nothing && kind != Finding::nothing) found = {kind, other, address + i};
  }
  if (bytes == 4 && access.write && found.kind != Finding::nowhere) {  // one owner again
    store(cell.reader, 0);
    store(cell.writer, access.atomic ? actor.me | kAtomic : actor.me);
  }
  return found;
}

std::string describe_race(const Finding& race) {
  const char* const what = race.kind == Finding::write_after_write  ? "write after write: "
                           : race.kind == Finding::read_after_write ? "read after write: "
                                                                    : "write after read: ";
  std::string text =
      what + who(race.other) + (race.kind == Finding::write_after_read ? " read" : " wrote") + " it";
  if (race.kind == Finding::write_after_read && (race.other & (kLanes | kWarps | kBlocks)) != 0)
    text += ", others too";
  return text + ", and nothing orders the two";
}

void atomic_access(const void* pointer, Atomic kind, MemoryOrder order, const void* site, std::size_t bytes) {
  const auto address = reinterpret_cast<std::uintptr_t>(pointer);
  const bool write = kind != Atomic::load;
  if (address - kArena >= kArenaBytes) {
    outside_arena(address, bytes, write, site);
    return;
  }
  if (address % bytes != 0) misaligned(address, bytes, site);
  if (order == MemoryOrder::acquire) acquire(Actor::of(*current), address);
  // An update is looked at when it begins; one that releases and acquires comes here twice.
  if (kind == Atomic::update && order != MemoryOrder::acquire) {
    const Cell& cell = *cell_of(address);
    if (load(cell.writer) == kNever) tell({Finding::never_written, 0, address}, bytes, {false, true}, site);
  }
  if (kind != Atomic::update || order != MemoryOrder::acquire)
    look_closely(address, bytes, {write, true}, site);
  if (write) check_not_read_readonly(address, bytes, site);
  if (order == MemoryOrder::release) release(Actor::of(*current), address, kind == Atomic::update);
  if (order == MemoryOrder::relaxed && kind == Atomic::store) forget(address);
}

}  // namespace simt::checker

// NOLINTBEGIN(bugprone-reserved-identifier): the names are the compiler's.
#define M40LLM_ACCESS(bytes)                                                   \
  void __tsan_read##bytes(void* p);                                            \
  void __tsan_read##bytes(void* p) {                                           \
    simt::checker::access<bytes, false, true>(p, __builtin_return_address(0)); \
  }                                                                            \
  void __tsan_write##bytes(void* p);                                           \
  void __tsan_write##bytes(void* p) {                                          \
    simt::checker::access<bytes, true, true>(p, __builtin_return_address(0));  \
  }
// The compiler knows such a type to be less aligned than it is large, and loads it in parts.
#define M40LLM_UNALIGNED(bytes)                                                 \
  void __tsan_unaligned_read##bytes(void* p);                                   \
  void __tsan_unaligned_read##bytes(void* p) {                                  \
    simt::checker::access<bytes, false, false>(p, __builtin_return_address(0)); \
  }                                                                             \
  void __tsan_unaligned_write##bytes(void* p);                                  \
  void __tsan_unaligned_write##bytes(void* p) {                                 \
    simt::checker::access<bytes, true, false>(p, __builtin_return_address(0));  \
  }

extern "C" {
M40LLM_ACCESS(1)
M40LLM_ACCESS(2)
M40LLM_ACCESS(4)
M40LLM_ACCESS(8)
M40LLM_ACCESS(16)
M40LLM_UNALIGNED(2)
M40LLM_UNALIGNED(4)
M40LLM_UNALIGNED(8)
M40LLM_UNALIGNED(16)

void __tsan_read_range(void* p, std::size_t bytes);
void __tsan_read_range(void* p, std::size_t bytes) {
  simt::checker::access_range(p, bytes, false, __builtin_return_address(0));
}
void __tsan_write_range(void* p, std::size_t bytes);
void __tsan_write_range(void* p, std::size_t bytes) {
  simt::checker::access_range(p, bytes, true, __builtin_return_address(0));
}
void __tsan_func_entry(void*);
void __tsan_func_entry(void*) {}
void __tsan_func_exit();
void __tsan_func_exit() {}
void __tsan_init();
void __tsan_init() {}
void __tsan_vptr_update(void**, void*);
void __tsan_vptr_update(void**, void*) {}
void __tsan_vptr_read(void**);
void __tsan_vptr_read(void**) {}
}
// NOLINTEND(bugprone-reserved-identifier)
