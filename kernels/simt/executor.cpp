#include "kernels/simt/executor.hpp"

#include <immintrin.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <new>

#include "kernels/simt/checker.hpp"
#include "kernels/simt/tsan.hpp"

namespace simt {
namespace {

constexpr std::uint64_t kNoneLeft = ~std::uint64_t{0};
// How long nothing may move before waiting lanes are told a deadlock: a store from another stream may still
// come.
constexpr auto kDeadlockAfter = std::chrono::milliseconds(50);

/// What every pooled fiber does for ever: run the current lane's thread, then whichever comes next.
void run_threads() {
  for (;;) {
    Lane& lane = *current;
    Block& block = *lane.block;
    Worker& worker = *block.worker;
    const Launch& launch = *worker.progress->launch;
    if (lane.fiber == nullptr) std::abort();
    tsan::acquire(worker.progress);
    tsan::acquire(&block);
    launch.call(launch.function, launch.params);
    tsan::release(worker.progress);
    tsan::release(&block);
    Fiber* const mine = lane.fiber;
    lane.fiber = nullptr;
    lane.wait = Wait::exited;
    lane.warp->exited |= lane.bit();
    ++block.n_exited;
    block.try_barrier();
    Lane* const next = block.pick();
    if (next != nullptr && next->fiber == nullptr) {  // the same stack serves
      next->fiber = mine;
      current = next;
      continue;
    }
    worker.pool.give(mine);
    current = next;
    Fiber::switch_to(*mine, next != nullptr ? *next->fiber : *worker.main);
  }
}

constexpr std::uint64_t kCalls = 1 << 16;  // of Executor::call_
constexpr std::uint64_t kStop = ~std::uint64_t{0};

std::uint64_t mix(std::uint64_t x) {  // splitmix64's finaliser
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9ull;
  x = (x ^ (x >> 27)) * 0x94d049bb133111ebull;
  return x ^ (x >> 31);
}

std::string list(const Warp& warp, std::uint32_t mask) {
  std::string text;
  for (; mask != 0; mask &= mask - 1) {
    text += (text.empty() ? "" : ", ") + std::to_string(warp.lanes[std::countr_zero(mask)].thread);
  }
  return text;
}

std::string whereabouts(const Lane& lane) {
  switch (lane.wait) {
    case Wait::exited:
      return "thread " + std::to_string(lane.thread) + " has returned";
    case Wait::nothing:
      return "thread " + std::to_string(lane.thread) + " is held back";
    default:
      break;
  }
  const Place place = place_of(lane.site);
  const char* what = lane.wait == Wait::barrier ? "a barrier"
                     : lane.wait == Wait::spin  ? "a spin"
                                                : "a warp's collective";
  return "thread " + std::to_string(lane.thread) + " waits in " + what + " at " + place.file + ":" +
         std::to_string(place.line);
}

}  // namespace

Worker::Worker(Order order_) : order(order_), pool(run_threads) {}
Worker::~Worker() {
  for (const auto& block : blocks_) {
    if constexpr (kChecked) {
      checker::give_arena(block->arena);
    } else {
      std::free(block->arena);
    }
  }
}

Block* Worker::start_block() {
  const Launch& launch = *progress->launch;
  const unsigned total = launch.grid_x * launch.grid_y - launch.first_block;
  const unsigned turn = progress->next_block.fetch_add(1, std::memory_order_relaxed);
  if (turn >= total) return nullptr;
  const unsigned number = launch.first_block + (!progress->block_order.empty() ? progress->block_order[turn]
                                                : order.kind == Order::Kind::descending ? total - 1 - turn
                                                                                        : turn);
  if (free_blocks_.empty()) {
    blocks_.push_back(std::make_unique<Block>());
    Block& fresh = *blocks_.back();
    if constexpr (kChecked) {
      fresh.arena = checker::take_arena();
    } else {
      fresh.arena = static_cast<std::byte*>(std::aligned_alloc(256, kSharedBytes));
    }
    if (fresh.arena == nullptr) throw std::bad_alloc();
    free_blocks_.push_back(&fresh);
  }
  Block& block = *free_blocks_.back();
  free_blocks_.pop_back();
  block.worker = this;
  block.order = order.kind;
  block.x = number % launch.grid_x;
  block.y = number / launch.grid_x;
  block.grid_x = launch.grid_x;
  block.grid_y = launch.grid_y;
  block.threads = launch.block;
  const unsigned n_warps = launch.block / kWarpSize;
  block.ready_warps = n_warps == 32 ? kFullMask : (1u << n_warps) - 1;
  block.current_warp = 0;
  block.n_exited = block.n_at_barrier = block.n_spinning = 0;
  block.barrier_mixed = false;
  block.random = mix(order.seed + mix(progress->number * 0x9e3779b97f4a7c15ull + number)) | 1;
  block.polled = nullptr;
  block.failed = false;
  block.shared_sites.clear();
  block.dynamic_shared = block.arena;
  block.arena_used = launch.shared_bytes;
  std::memset(block.arena, 0xff, launch.shared_bytes);
  block.lanes.resize(launch.block);
  block.warps.resize(n_warps);
  for (unsigned w = 0; w < n_warps; ++w) {
    Warp& warp = block.warps[w];
    warp.lanes = &block.lanes[w * kWarpSize];
    warp.runnable = kFullMask;
    warp.exited = warp.at_barrier = warp.spinning = 0;
    warp.index = w;
    for (Collective& c : warp.collectives) c.mask = 0;
    for (unsigned i = 0; i < kWarpSize; ++i) {
      Lane& lane = warp.lanes[i];
      lane.fiber = nullptr;
      lane.warp = &warp;
      lane.block = &block;
      lane.thread = w * kWarpSize + i;
      lane.wait = Wait::nothing;
    }
  }
  if constexpr (kChecked) {
    checker::block_begins(block, progress->clock);
    checker::shared_allocated(block, block.arena, launch.shared_bytes);
  }
  tsan::release(&block);
  return &block;
}

void Worker::run(Block& block) {
  Lane* const first = block.pick();
  if (first->fiber == nullptr) first->fiber = pool.take();
  current = first;
  Fiber::switch_to(*main, *first->fiber);
  current = nullptr;
}

void Worker::retire(Block* block) {
  for (Lane& lane : block->lanes) {  // of a block given up
    if (lane.fiber == nullptr) continue;
    lane.fiber->abandon();
    pool.give(lane.fiber);
    lane.fiber = nullptr;
  }
  if constexpr (kChecked) checker::block_ends(*block);
  free_blocks_.push_back(block);
}

void Worker::report_stuck(Block& block) {
  for (Warp& warp : block.warps) {
    for (const Collective& c : warp.collectives) {
      if (c.mask == 0) continue;
      Lane& waiting = warp.lanes[std::countr_zero(c.arrived)];
      const std::uint32_t missing = c.mask & ~c.arrived;
      current = &waiting;
      report(Fault::shuffle_missing_lane, waiting.site,
             "threads " + list(warp, missing) + " are named and do not come; " +
                 whereabouts(warp.lanes[std::countr_zero(missing)]));
      return;  // whoever waits elsewhere waits for these
    }
  }
  for (Warp& warp : block.warps) {
    if (warp.spinning == 0) continue;
    Lane& waiting = warp.lanes[std::countr_zero(warp.spinning)];
    current = &waiting;
    const std::string who = "thread " + std::to_string(waiting.thread) + " waits for what nobody does";
    if (warp.runnable != 0) {
      report(Fault::spin_holds_own_warp, waiting.site,
             who + "; threads " + list(warp, warp.runnable) + " of its warp cannot run before it ends");
    } else {
      report(Fault::endless_spin, waiting.site, who);
    }
    return;
  }
  for (Warp& warp : block.warps) {
    if (warp.at_barrier == 0) continue;
    Lane& waiting = warp.lanes[std::countr_zero(warp.at_barrier)];
    std::string missing;
    for (Lane& lane : block.lanes) {
      if (lane.wait != Wait::barrier) missing = missing.empty() ? whereabouts(lane) : missing;
    }
    current = &waiting;
    report(Fault::barrier_not_reached, waiting.site, missing);
    return;
  }
}

bool Worker::poll(Block& block) {
  bool any = false;
  for (Warp& warp : block.warps) {
    for (std::uint32_t rest = warp.spinning; rest != 0; rest &= rest - 1) {
      Lane& lane = warp.lanes[std::countr_zero(rest)];
      tsan::acquire(&lane);
      current = &lane;         // whoever acquires is the lane
      block.polled = nullptr;  // asking is not the lane's own loop
      if (!lane.spin_done(lane.spin_closure)) continue;
      tsan::release(&lane);
      warp.spinning &= ~lane.bit();
      --block.n_spinning;
      block.make_runnable(warp, lane.bit());
      any = true;
    }
  }
  current = nullptr;
  return any;
}

bool Worker::everybody_idle(std::uint64_t steps) const {
  for (const Worker* each : *crew) {
    const std::uint64_t at = each->idle_at.load();
    if (at != steps && at != kNoneLeft) return false;
  }
  return true;
}

void Worker::run_blocks(Progress& shared_progress) {
  progress = &shared_progress;
  const Launch& launch = *progress->launch;
  tsan::acquire(progress);
  if (main == nullptr) main = std::make_unique<Fiber>();
  auto still_since = std::chrono::steady_clock::time_point::max();
  for (;;) {
    Block* block = nullptr;
    for (Block* each : resident_) {
      if (each->ready_warps != 0) block = each;
    }
    if (block == nullptr && (launch.resident || resident_.empty())) {
      block = start_block();
      if (block != nullptr) resident_.push_back(block);
    }
    if (block != nullptr) {
      still_since = std::chrono::steady_clock::time_point::max();
      run(*block);
      progress->steps.fetch_add(1);
      if (!block->done() && (block->failed || block->n_spinning == 0)) {
        if (!block->failed) report_stuck(*block);
        current = nullptr;
        block->failed = true;
      }
      if (block->done() || block->failed) {
        std::erase(resident_, block);
        retire(block);
      }
      continue;
    }
    if (resident_.empty()) break;
    const std::uint64_t steps = progress->steps.load();
    bool any = false;
    for (Block* each : resident_) any |= poll(*each);
    if (any) continue;
    idle_at.store(steps);
    const auto now = std::chrono::steady_clock::now();
    if (!everybody_idle(steps)) {
      still_since = std::chrono::steady_clock::time_point::max();
    } else if (still_since == std::chrono::steady_clock::time_point::max()) {
      still_since = now;
    } else if (now - still_since > kDeadlockAfter) {
      progress->deadlock.store(true);
    }
    if (progress->deadlock.load()) {
      for (Block* each : resident_) {
        report_stuck(*each);
        current = nullptr;
        retire(each);
      }
      resident_.clear();
      progress->next_block.store(launch.grid_x * launch.grid_y);
      break;
    }
    if (crew->size() > 1) std::this_thread::yield();
  }
  idle_at.store(kNoneLeft);
}

Executor::Executor(unsigned n_workers, Order order) : order_(order) {
  for (unsigned i = 0; i < n_workers; ++i) workers_.push_back(std::make_unique<Worker>(order));
  for (unsigned i = 1; i < n_workers; ++i) {
    threads_.emplace_back([this, i] { serve(*workers_[i], i); });
  }
}

Executor::~Executor() {
  call_.store(kStop);
  call_.notify_all();
  for (std::thread& thread : threads_) thread.join();
}

void Executor::serve(Worker& worker, unsigned index) {
  std::uint64_t seen = 0;
  for (;;) {
    call_.wait(seen);
    seen = call_.load();
    if (seen == kStop) return;
    if (index >= seen % kCalls) continue;
    worker.run_blocks(*progress_);
    if (n_busy_.fetch_sub(1) == 1) n_busy_.notify_all();
  }
}

std::vector<Report> Executor::run(const Launch& launch) {
  Progress progress;
  progress.launch = &launch;
  progress.number = n_launches_++;
  const unsigned total = launch.grid_x * launch.grid_y - launch.first_block;
  if (order_.kind == Order::Kind::random) {
    progress.block_order.resize(total);
    for (unsigned i = 0; i < total; ++i) progress.block_order[i] = i;
    for (unsigned i = total; i > 1; --i) {
      std::swap(progress.block_order[i - 1],
                progress.block_order[mix(order_.seed + mix(progress.number) + i) % i]);
    }
  }
  if constexpr (kChecked) progress.clock = checker::launch_begins(launch);
  const unsigned n = std::min(static_cast<unsigned>(workers_.size()), total);
  crew_.clear();
  for (unsigned i = 0; i < n; ++i) {
    crew_.push_back(workers_[i].get());
    workers_[i]->crew = &crew_;
    workers_[i]->idle_at.store(kNoneLeft - 1);
  }
  progress_ = &progress;
  tsan::release(&progress);
  if (n > 1) {
    n_busy_.store(n - 1);
    call_.store((call_.load() / kCalls + 1) * kCalls + n);
    call_.notify_all();
  }
  workers_[0]->run_blocks(progress);
  for (unsigned left = n > 1 ? n_busy_.load() : 0; left != 0; left = n_busy_.load()) n_busy_.wait(left);
  tsan::acquire(&progress);
  if constexpr (kChecked) checker::launch_ends(progress.clock);
  return std::move(progress.reports);
}

}  // namespace simt
