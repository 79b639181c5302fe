#include "kernels/simt/executor.hpp"

#include <immintrin.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <new>

#include "kernels/simt/checker.hpp"
#include "kernels/simt/tsan.hpp"

namespace simt {
namespace {

// How long nothing may have moved on the whole device before waiting lanes are told a deadlock: another thread
// of the host may be about to submit what they wait for.
constexpr auto kDeadlockAfter = std::chrono::milliseconds(50);
// A worker whose blocks all wait asks again at once for so long, as other workers' stores mostly come soon; then
// it sleeps for a share of what it has waited, at most for kLongestSleep, so that waiting costs no core.
constexpr auto kAsksAtOnceFor = std::chrono::microseconds(500);
constexpr auto kLongestSleep = std::chrono::microseconds(500);
constexpr int kShareSlept = 16;

void pause(std::chrono::steady_clock::duration waited) {
  if (waited < kAsksAtOnceFor) {
    std::this_thread::yield();
  } else {
    std::this_thread::sleep_for(
        std::min<std::chrono::steady_clock::duration>(waited / kShareSlept, kLongestSleep));
  }
}

/// An exception is no kernel's: the device could not go on. One report a launch, of the first.
void fail(Progress& progress, const std::string& what, const Lane* lane) {
  const std::lock_guard lock(progress.mutex);
  if (progress.broken.exchange(true)) return;
  progress.reports.push_back({Fault::device_failed, progress.launch->kernel,
                              lane != nullptr ? lane->block->x : 0, lane != nullptr ? lane->block->y : 0,
                              lane != nullptr ? lane->thread : 0, "launch", 0, what});
}

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
    try {
      launch.call(launch.function, launch.params);
    } catch (const std::exception& exception) {
      fail(*worker.progress, exception.what(), &lane);
      block.failed = true;
    }
    if (block.failed) {
      Fiber::switch_to(*lane.fiber, *worker.main);  // for good: the block is given up
    }
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

Worker::Worker(Order order_, std::atomic<std::uint64_t>& at) : order(order_), pool(run_threads), at_(at) {}
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
  const std::uint64_t total = launch.n_blocks() - launch.first_block;
  const std::uint64_t turn = progress->next_block.fetch_add(1, std::memory_order_relaxed);
  if (turn >= total || progress->broken.load(std::memory_order_relaxed)) return nullptr;
  const std::uint64_t number =
      launch.first_block + (!progress->block_order.empty()          ? progress->block_order[turn]
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
  block.x = static_cast<unsigned>(number % launch.grid_x);
  block.y = static_cast<unsigned>(number / launch.grid_x);
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
  tsan::acquire(block);              // its threads ran here and are done: the next block may have its memory
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

void Worker::give_up_blocks() {
  for (Block* each : resident_) retire(each);
  resident_.clear();
}

void Worker::run_blocks(Progress& shared_progress) noexcept {
  progress = &shared_progress;
  tsan::acquire(progress);
  try {
    run_all();
  } catch (const std::exception& exception) {
    current = nullptr;
    fail(*progress, exception.what(), nullptr);
    give_up_blocks();
  }
  at_.store(Activity::kNoBlocks);
}

void Worker::run_all() {
  using Clock = std::chrono::steady_clock;
  constexpr auto kNever = Clock::time_point::max();
  const Launch& launch = *progress->launch;
  Activity& activity = progress->stream->activity;
  if (main == nullptr) main = std::make_unique<Fiber>();
  auto waits_since = kNever;         // all blocks here
  auto still_since = kNever;         // the device,
  std::uint64_t still_at_steps = 0;  // at this number of steps
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
      if (waits_since != kNever) at_.store(Activity::kMoves);
      waits_since = kNever;
      run(*block);
      activity.moved();
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
    const std::uint64_t steps = activity.steps();
    bool any = false;
    for (Block* each : resident_) any |= poll(*each);
    if (any) continue;
    at_.store(steps);
    const auto now = Clock::now();
    if (waits_since == kNever) waits_since = now;
    if (!activity.nothing_moves(steps)) {
      still_since = kNever;
    } else if (still_since == kNever || steps != still_at_steps) {
      still_since = now;
      still_at_steps = steps;
    } else if (now - still_since > kDeadlockAfter) {
      progress->deadlock.store(true);
    }
    if (progress->deadlock.load()) {
      for (Block* each : resident_) {
        report_stuck(*each);
        current = nullptr;
      }
      progress->next_block.store(launch.n_blocks());
    }
    if (progress->deadlock.load() || progress->broken.load()) {
      give_up_blocks();
      break;
    }
    pause(now - waits_since);
  }
}

Executor::Executor(Activity::Stream& stream, Order order) : stream_(stream), order_(order) {
  for (auto& at : stream.worker_at) workers_.push_back(std::make_unique<Worker>(order, at));
  try {
    for (unsigned i = 1; i < workers_.size(); ++i) {
      threads_.emplace_back([this, i] { serve(*workers_[i], i); });
    }
  } catch (...) {
    stop();
    throw;
  }
}

Executor::~Executor() { stop(); }

void Executor::stop() {
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
  progress.stream = &stream_;
  progress.number = n_launches_++;
  const std::uint64_t total = launch.n_blocks() - launch.first_block;
  if (order_.kind == Order::Kind::random) {
    progress.block_order.resize(total);
    for (std::uint64_t i = 0; i < total; ++i) progress.block_order[i] = static_cast<unsigned>(i);
    for (std::uint64_t i = total; i > 1; --i) {
      std::swap(progress.block_order[i - 1],
                progress.block_order[mix(order_.seed + mix(progress.number) + i) % i]);
    }
  }
  if constexpr (kChecked) progress.clock = checker::launch_begins(launch);
  const auto n = static_cast<unsigned>(std::min<std::uint64_t>(workers_.size(), total));
  for (unsigned i = 0; i < n; ++i) stream_.worker_at[i].store(Activity::kMoves);
  if (!launch.host_fed) stream_.state.store(Activity::State::in_launch);
  progress_ = &progress;
  tsan::release(&progress);
  if (n > 1) {
    n_busy_.store(n - 1);
    call_.store((call_.load() / kCalls + 1) * kCalls + n);
    call_.notify_all();
  }
  workers_[0]->run_blocks(progress);
  for (unsigned left = n > 1 ? n_busy_.load() : 0; left != 0; left = n_busy_.load()) n_busy_.wait(left);
  stream_.state.store(Activity::State::moves);
  tsan::acquire(&progress);
  if constexpr (kChecked) checker::launch_ends(progress.clock);
  return std::move(progress.reports);
}

}  // namespace simt
