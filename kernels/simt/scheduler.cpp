#include "kernels/simt/scheduler.hpp"

#include <cstring>

#include "kernels/simt/checker.hpp"
#include "kernels/simt/executor.hpp"
#include "kernels/simt/tsan.hpp"

namespace simt {

constinit thread_local Lane* current = nullptr;

namespace {

/// Raw loads in a loop before it counts as endless.
constexpr std::uint64_t kPollLimit = std::uint64_t{1} << 24;

/// Leaves the running lane, which waits, for another of its block, or for the worker when all wait.
void suspend() {
  Lane* const me = current;
  Worker& worker = *me->block->worker;
  Lane* const next = me->block->pick();
  Fiber* to = worker.main.get();
  if (next == me) {
    me->wait = Wait::nothing;
    return;
  }
  if (next != nullptr) {
    if (next->fiber == nullptr) next->fiber = worker.pool.take();
    to = next->fiber;
    current = next;
  }
  Fiber::switch_to(*me->fiber, *to);
  me->wait = Wait::nothing;
}

/// The collective of these lanes that others have come to, or a free place for it; null if there is none.
Collective* find_collective(Warp& warp, CollectiveKind kind, std::uint32_t mask) {
  Collective* free = nullptr;
  for (Collective& each : warp.collectives) {
    if (each.mask == mask && each.kind == kind) return &each;
    if (each.mask == 0 && free == nullptr) free = &each;
  }
  if (free != nullptr) *free = {mask, 0, kind};
  return free;
}

float as_float(std::uint64_t bits) { return std::bit_cast<float>(static_cast<std::uint32_t>(bits)); }
std::uint64_t as_bits(float value) { return std::bit_cast<std::uint32_t>(value); }

/// All lanes have come: computes what each gets.
void complete(Warp& warp, const Collective& c, const void* site) {
  switch (c.kind) {
    case CollectiveKind::sync:
      if constexpr (kChecked) checker::warp_synchronized(warp, c.mask);
      break;
    case CollectiveKind::sums: {  // each lane brings where its values stand
      const Sums sums = Sums::unpacked(warp.argument[0]);
      for (unsigned n = 0; n < sums.values; ++n) {
        // Pairs lanes / 2, ..., 2, 1 apart: what xor shuffles add, where all of them end with the same bits.
        std::array<float, kWarpSize> t;
        for (unsigned i = 0; i < kWarpSize; ++i) t[i] = reinterpret_cast<const float*>(warp.in[i])[n];
        for (unsigned first = 0; first < kWarpSize; first += sums.lanes) {
          for (unsigned offset = sums.lanes / 2; offset != 0; offset /= 2) {
            for (unsigned i = first; i < first + offset; ++i) t[i] = t[i] + t[i + offset];
          }
        }
        for (unsigned i = 0; i < kWarpSize; ++i)
          reinterpret_cast<float*>(warp.in[i])[n] = t[i & ~(sums.lanes - 1)];
      }
      break;
    }
    case CollectiveKind::max: {
      std::array<float, kWarpSize> t, u;
      for (unsigned i = 0; i < kWarpSize; ++i) t[i] = as_float(warp.in[i]);
      for (unsigned offset = 16; offset != 0; offset /= 2) {
        for (unsigned i = 0; i < kWarpSize; ++i) u[i] = t[i] > t[i ^ offset] ? t[i] : t[i ^ offset];
        t = u;
      }
      for (unsigned i = 0; i < kWarpSize; ++i) warp.out[i] = as_bits(t[i]);
      break;
    }
    case CollectiveKind::shuffle:
      for (std::uint32_t rest = c.mask; rest != 0; rest &= rest - 1) {
        const unsigned lane = static_cast<unsigned>(std::countr_zero(rest));
        const unsigned source = warp.argument[lane];
        if (source >= kWarpSize || (c.mask >> source & 1) == 0) {
          report(Fault::shuffle_missing_lane, site,
                 "lane " + std::to_string(lane) + " reads from lane " + std::to_string(source) +
                     ", which the mask does not name");
          warp.out[lane] = warp.in[lane];
        } else {
          warp.out[lane] = warp.in[source];
        }
      }
      break;
    case CollectiveKind::ballot: {
      std::uint64_t votes = 0;
      for (std::uint32_t rest = c.mask; rest != 0; rest &= rest - 1) {
        const unsigned lane = static_cast<unsigned>(std::countr_zero(rest));
        if (warp.in[lane] != 0) votes |= 1u << lane;
      }
      warp.out.fill(votes);
      break;
    }
  }
}

/// Threads wait at barriers of two places in the code: only a mistake in the kernel makes them meet. (One
/// line of the code can stand at two addresses.)
void report_mixed(const Block& block) {
  const Lane* first = nullptr;
  Place place_of_first;
  for (const Lane& lane : block.lanes) {
    if (lane.wait != Wait::barrier || (first != nullptr && lane.site == first->site)) continue;
    const Place place = place_of(lane.site);
    if (first == nullptr) {
      first = &lane;
      place_of_first = place;
    } else if (place.file != place_of_first.file || place.line != place_of_first.line) {
      report(Fault::barrier_not_reached, lane.site,
             "thread " + std::to_string(lane.thread) + " waits here, thread " +
                 std::to_string(first->thread) + " at " + place_of_first.file + ":" +
                 std::to_string(place_of_first.line));
      return;
    }
  }
}

}  // namespace

void Block::try_barrier() {
  if (n_at_barrier == 0 || n_at_barrier + n_exited != threads) return;
  if (barrier_mixed) report_mixed(*this);
  barrier_mixed = false;
  for (Warp& warp : warps) {
    if (warp.at_barrier == 0) continue;
    if (warp.exited != 0) {  // a warp that has returned as a whole counts as arrived, a part of one does not
      const Lane& waiting = warp.lanes[std::countr_zero(warp.at_barrier)];
      const Lane& gone = warp.lanes[std::countr_zero(warp.exited)];
      report(Fault::barrier_not_reached, waiting.site,
             "thread " + std::to_string(waiting.thread) + " waits here, thread " +
                 std::to_string(gone.thread) + " of its warp has returned");
    }
    make_runnable(warp, warp.at_barrier);
    warp.at_barrier = 0;
  }
  n_at_barrier = 0;
  if constexpr (kChecked) checker::barrier_passed(*this);
}

void barrier() {
  const void* const site = __builtin_return_address(0);
  Lane& lane = *current;
  Block& block = *lane.block;
  tsan::release(&block);
  lane.wait = Wait::barrier;
  lane.site = site;
  lane.warp->at_barrier |= lane.bit();
  if (block.n_at_barrier++ == 0) block.barrier_site = site;
  block.barrier_mixed |= site != block.barrier_site;
  block.try_barrier();
  suspend();  // also the last to come takes its turn again: the order decides who goes first
  tsan::acquire(&block);
}

std::uint64_t collective(CollectiveKind kind, std::uint32_t mask, std::uint64_t in, std::uint32_t argument) {
  const void* const site = __builtin_return_address(0);
  Lane& lane = *current;
  Warp& warp = *lane.warp;
  const unsigned index = lane.index();
  if ((mask & lane.bit()) == 0) {
    report(Fault::shuffle_missing_lane, site, "the mask does not name the lane that calls");
    return in;
  }
  Collective* c = nullptr;
  if (Collective& first = warp.collectives[0]; first.mask == mask && first.kind == kind) {
    c = &first;
  } else {
    c = find_collective(warp, kind, mask);
  }
  if (c == nullptr) {
    report(Fault::shuffle_missing_lane, site, "more than 8 collectives of one warp wait for lanes");
    return in;
  }
  warp.in[index] = in;
  warp.argument[index] = argument;
  c->arrived |= lane.bit();
  if (kind == CollectiveKind::sync) tsan::release(&warp);
  if (c->arrived == mask) {
    if (kind == CollectiveKind::sync) tsan::acquire(&warp);
    complete(warp, *c, site);
    c->mask = 0;
    lane.block->make_runnable(warp, mask & ~lane.bit());
    return warp.out[index];
  }
  lane.wait = Wait::collective;
  lane.site = site;
  suspend();
  if (kind == CollectiveKind::sync) tsan::acquire(&warp);
  return warp.out[index];
}

void spin(bool (*done)(const void* closure), const void* closure) {
  if (done(closure)) return;
  Lane& lane = *current;
  lane.wait = Wait::spin;
  lane.site = __builtin_return_address(0);
  lane.spin_done = done;
  lane.spin_closure = closure;
  lane.warp->spinning |= lane.bit();
  ++lane.block->n_spinning;
  // Maxwell has one program counter a warp: while a lane spins, the others of its warp do not run.
  lane.block->ready_warps &= ~(1u << lane.warp->index);
  tsan::release(&lane);
  suspend();
  tsan::acquire(&lane);
}

bool host_fed() { return current->block->worker->progress->launch->host_fed; }

std::byte* shared(const void* name, std::size_t bytes, std::size_t alignment) {
  Block& block = *current->block;
  for (const SharedSite& known : block.shared_sites) {
    if (known.site == name) {
      tsan::acquire(known.address);
      return known.address;
    }
  }
  const std::size_t at = (block.arena_used + alignment - 1) / alignment * alignment;
  if (at + bytes > kSharedBytes) {
    report(
        Fault::resources, __builtin_return_address(0),
        std::to_string(at + bytes) + " bytes of shared memory; a block has " + std::to_string(kSharedBytes));
    give_up();
  }
  block.arena_used = at + bytes;
  std::byte* address = block.arena + at;
  if constexpr (kChecked) {
    address += (block.shared_sites.size() + 1) * checker::kSharedGuard;
    checker::shared_allocated(block, address, bytes);
  }
  std::memset(address, 0xff, bytes);  // what no kernel may rely on
  tsan::release(address);
  block.shared_sites.push_back({name, address});
  return address;
}

std::byte* dynamic_shared() { return current->block->dynamic_shared; }

void report(Fault fault, const void* site, const std::string& text) {
  Lane& lane = *current;
  Progress& progress = *lane.block->worker->progress;
  const Place place = place_of(site);
  {
    const std::lock_guard lock(progress.mutex);
    bool known = false;  // one report a fault and place, however many threads run into it
    for (const Report& r : progress.reports)
      known |= r.fault == fault && r.file == place.file && r.line == place.line;
    if (!known && progress.reports.size() < 100) {
      progress.reports.push_back({fault, progress.launch->kernel, lane.block->x, lane.block->y, lane.thread,
                                  place.file, place.line, text});
    }
  }
  tsan::release(&progress);
}

void give_up() {
  Lane& lane = *current;
  if (lane.wait != Wait::nothing) return;
  lane.block->failed = true;
  Fiber::switch_to(*lane.fiber, *lane.block->worker->main);
}

unsigned checked_thread() { return current->thread; }
unsigned checked_block_x() { return current->block->x; }
unsigned checked_block_y() { return current->block->y; }
unsigned checked_block_size() { return current->block->threads; }
unsigned checked_grid_x() { return current->block->grid_x; }
unsigned checked_grid_y() { return current->block->grid_y; }

namespace {
/// A spin that does not use spin_until() must not hang the device.
void count_poll(const void* address, const void* site) {
  Block& block = *current->block;
  if (address != block.polled) {
    block.polled = address;
    block.n_polls = 0;
  }
  if (++block.n_polls <= kPollLimit) return;
  report(Fault::endless_spin, site, "a loop of loads; spin_until() is the way to wait");
  give_up();
}
}  // namespace

void earlier_kernels_ended() {
  if constexpr (kChecked) checker::earlier_kernels_ended();
}
void readonly_load([[maybe_unused]] const void* address, [[maybe_unused]] std::size_t bytes) {
  if constexpr (kChecked) checker::readonly_load(address, bytes, __builtin_return_address(0));
}
unsigned atomic_add(unsigned* address, unsigned value) {
  if constexpr (kChecked)
    checker::atomic_access(address, checker::Atomic::update, checker::MemoryOrder::relaxed,
                           __builtin_return_address(0));
  return __atomic_fetch_add(address, value, __ATOMIC_RELAXED);
}
void atomic_add_release(unsigned* address, unsigned value) {
  if constexpr (kChecked)
    checker::atomic_access(address, checker::Atomic::update, checker::MemoryOrder::release,
                           __builtin_return_address(0));
  tsan::release(address);
  __atomic_fetch_add(address, value, __ATOMIC_RELEASE);
}
unsigned atomic_add_acq_rel(unsigned* address, unsigned value) {
  if constexpr (kChecked)
    checker::atomic_access(address, checker::Atomic::update, checker::MemoryOrder::release,
                           __builtin_return_address(0));
  tsan::release(address);
  const unsigned old = __atomic_fetch_add(address, value, __ATOMIC_ACQ_REL);
  tsan::acquire(address);
  if constexpr (kChecked) {
    checker::atomic_access(address, checker::Atomic::update, checker::MemoryOrder::acquire,
                           __builtin_return_address(0));
  }
  return old;
}
void store_release(unsigned* address, unsigned value) {
  if constexpr (kChecked)
    checker::atomic_access(address, checker::Atomic::store, checker::MemoryOrder::release,
                           __builtin_return_address(0));
  tsan::release(address);
  __atomic_store_n(address, value, __ATOMIC_RELEASE);
}
void store_release(unsigned long long* address, unsigned long long value) {
  if constexpr (kChecked)
    checker::atomic_access(address, checker::Atomic::store, checker::MemoryOrder::release,
                           __builtin_return_address(0), sizeof value);
  tsan::release(address);
  __atomic_store_n(address, value, __ATOMIC_RELEASE);
}
void store_relaxed(unsigned* address, unsigned value) {
  if constexpr (kChecked)
    checker::atomic_access(address, checker::Atomic::store, checker::MemoryOrder::relaxed,
                           __builtin_return_address(0));
  __atomic_store_n(address, value, __ATOMIC_RELAXED);
}
unsigned load_acquire(const unsigned* address) {
  count_poll(address, __builtin_return_address(0));
  const unsigned value = __atomic_load_n(address, __ATOMIC_ACQUIRE);
  tsan::acquire(address);
  if constexpr (kChecked) {
    checker::atomic_access(address, checker::Atomic::load, checker::MemoryOrder::acquire,
                           __builtin_return_address(0));
  }
  return value;
}
unsigned load_relaxed(const unsigned* address) {
  count_poll(address, __builtin_return_address(0));
  if constexpr (kChecked)
    checker::atomic_access(address, checker::Atomic::load, checker::MemoryOrder::relaxed,
                           __builtin_return_address(0));
  return __atomic_load_n(address, __ATOMIC_RELAXED);
}

}  // namespace simt
