#include "kernels/simt/clocks.hpp"

#include <algorithm>
#include <memory>
#include <stdexcept>
#include <unordered_map>

#include "kernels/simt/executor.hpp"

namespace simt::checker {
namespace {

constexpr std::size_t kRememberedLaunches = 1 << 16;  // older ones count as ordered before everything

/// All that launches share. Looked at off the fast path only.
struct Time {
  std::mutex mutex;
  Times host;
  unsigned n_streams = 0;
  std::uint32_t next_task = 1;
  std::uint32_t task_limit = kMaxTask / 2;
  unsigned n_running = 0;
  std::map<std::uint32_t, std::unique_ptr<LaunchClock>> launches;              // by first task
  std::vector<std::deque<std::pair<std::uint64_t, std::uint32_t>>> of_stream;  // turn, first task
  std::unordered_map<std::uintptr_t, Clock> words;                             // what was released at each
  Clock through_host;  // and at any word of pinned memory: the host reads it, and may pass it on
  std::set<BlockClock*> blocks;
};

Time& time() {
  static Time instance;
  return instance;
}

thread_local StreamClock* entered = nullptr;

StreamClock& stream_of_thread() {
  if (entered != nullptr) return *entered;
  static StreamClock shared;
  return shared;
}

LaunchClock* find_launch(Time& t, std::uint32_t task) {
  auto after = t.launches.upper_bound(task);
  if (after == t.launches.begin()) return nullptr;
  LaunchClock* const found = std::prev(after)->second.get();
  return found->holds(task) ? found : nullptr;
}

const Known* find_block(const Clock& clock, std::uint32_t task) {
  const auto at =
      std::lower_bound(clock.begin(), clock.end(), task,
                       [](const auto& entry, std::uint32_t wanted) { return entry.first < wanted; });
  return at != clock.end() && at->first == task ? &at->second : nullptr;
}

/// Joins b into a, and drops what is below `before` anyhow.
void join_clocks(Clock& a, const Clock& b, std::uint32_t before) {
  Clock both;
  both.reserve(a.size() + b.size());
  auto i = a.begin();
  auto j = b.begin();
  while (i != a.end() || j != b.end()) {
    if (j == b.end() || (i != a.end() && i->first < j->first)) {
      both.push_back(std::move(*i++));
    } else if (i == a.end() || j->first < i->first) {
      both.push_back(*j++);
    } else {
      both.push_back(std::move(*i++));
      both.back().second.join((j++)->second);
    }
    if (both.back().first < before) both.pop_back();
  }
  a = std::move(both);
}

bool knows(const Clock& clock, Id id) {
  const Known* const known = find_block(clock, task_of(id));
  return known != nullptr && known->covers(id);
}

/// The warp of the block gets new identities after its epoch has changed.
void renew(Block& block, Warp& warp) {
  const BlockClock& clock = *block.clock;
  for (unsigned lane = 0; lane < kWarpSize; ++lane) {
    warp.lanes[lane].id = make_id(clock.task, clock.barrier, warp.index, clock.warps[warp.index].epoch, lane);
  }
}

/// Old epochs of a warp that has used up its numbers: those ordered before now become 0, the others 1.
struct WarpRenumbering {
  Id where;  // task, barrier and warp
  std::uint32_t ordered;
};
constexpr Id kWarpOfBlock = kTask | kBarrier | Id{31} << kWarpShift;

Id renumber_warp_epoch(Id id, const void* context) {
  const auto& r = *static_cast<const WarpRenumbering*>(context);
  if ((id & kWarpOfBlock) != r.where) return id;
  const Id epoch = warp_epoch_of(id) < r.ordered ? 0 : 1;
  return (id & ~(Id{kMaxWarpEpoch} << kWarpEpochShift)) | epoch << kWarpEpochShift;
}

template <class Change>
void change_known(Time& t, std::uint32_t task, Change change) {
  const auto in = [&](Clock& clock) {
    for (auto& [each, known] : clock) {
      if (each == task) change(known);
    }
  };
  for (auto& [address, clock] : t.words) in(clock);
  in(t.through_host);
  for (BlockClock* block : t.blocks) {
    in(block->acquired);
    for (auto& [thread, clock] : block->threads) in(clock);
    for (auto& warp : block->warps) in(warp.acquired);
  }
}

void next_warp_epoch(Time& t, BlockClock& block, unsigned warp) {
  BlockClock::WarpClock& clock = block.warps[warp];
  if (clock.epoch < kMaxWarpEpoch) {
    ++clock.epoch;
    return;
  }
  const WarpRenumbering renumbering{make_id(block.task, block.barrier, warp, 0, 0), clock.ordered};
  rewrite_shadow(renumber_warp_epoch, &renumbering);
  change_known(t, block.task, [&](Known& known) {
    for (Known::Part& part : known.parts) {
      if (part.warp != warp || known.barrier != block.barrier) continue;
      part.warp_epoch = part.warp_epoch < clock.ordered ? 0 : 1;
      part.ordered = std::min(part.ordered, 1u);
    }
  });
  clock.ordered = 1;
  clock.epoch = 2;
}

Id drop_barriers(Id id, const void* context) {
  return (id & kTask) == *static_cast<const Id*>(context) ? id & ~kBarrier : id;
}

Id make_old(Id, const void*) { return kHost; }

}  // namespace

bool Known::covers(Id id) const {
  if (barrier_of(id) != barrier) return barrier_of(id) < barrier;
  if ((id & kWarps) != 0) return false;
  for (const Part& part : parts) {
    if (part.warp != warp_of(id)) continue;
    if (warp_epoch_of(id) < part.ordered) return true;
    if ((id & kLanes) == 0 && part.lane == lane_of(id) && warp_epoch_of(id) <= part.warp_epoch) return true;
  }
  return false;
}

void Known::join(const Known& other) {
  if (other.barrier < barrier) return;
  if (other.barrier > barrier) {
    *this = other;
    return;
  }
  for (const Part& part : other.parts) {
    const auto same = std::ranges::find_if(
        parts, [&](const Part& p) { return p.warp == part.warp && p.lane == part.lane; });
    if (same == parts.end()) {
      parts.push_back(part);
    } else {
      same->ordered = std::max(same->ordered, part.ordered);
      same->warp_epoch = std::max(same->warp_epoch, part.warp_epoch);
    }
  }
}

void join(Times& a, const Times& b) {
  if (a.size() < b.size()) a.resize(b.size());
  for (std::size_t i = 0; i < b.size(); ++i) a[i] = std::max(a[i], b[i]);
}

StreamClock::StreamClock() {
  Time& t = time();
  const std::lock_guard lock(t.mutex);
  number = t.n_streams++;
  t.of_stream.resize(t.n_streams);
  times = t.host;
}

void enter(StreamClock* stream) { entered = stream; }

Times host_times() {
  Time& t = time();
  const std::lock_guard lock(t.mutex);
  return t.host;
}

void host_waited(const Times& times) {
  Time& t = time();
  const std::lock_guard lock(t.mutex);
  join(t.host, times);
}

void set_task_limit(std::uint32_t limit) {
  Time& t = time();
  const std::lock_guard lock(t.mutex);
  t.task_limit = std::min(limit, kMaxTask / 2);
}

namespace {

LaunchClock* begin(const std::string& kernel, unsigned grid_x, std::uint32_t n_tasks, bool is_kernel,
                   bool overlaps) {
  StreamClock& stream = stream_of_thread();
  Time& t = time();
  const std::lock_guard lock(t.mutex);
  // Numbers are used up: all that has run becomes as old as what the host wrote. That waits for a moment
  // without running launches; until then there is room above the limit set.
  const bool full = t.next_task + n_tasks > t.task_limit;
  const bool full_now = full && t.n_running == 0;
  if (full_now) {
    rewrite_shadow(make_old, nullptr);
    forget_readonly_readers();
    t.launches.clear();
    for (auto& launches : t.of_stream) launches.clear();
    t.words.clear();
    t.through_host.clear();
    t.next_task = 1;
  }
  auto launch = std::make_unique<LaunchClock>();
  launch->first_task = t.next_task;
  launch->n_tasks = n_tasks;
  launch->stream = stream.number;
  launch->kernel = kernel;
  launch->grid_x = grid_x;
  t.next_task += n_tasks;
  ++t.n_running;
  stream.times.resize(std::max<std::size_t>(stream.times.size(), t.n_streams));
  launch->before = stream.times;
  launch->turn = ++stream.times[stream.number];
  t.of_stream[stream.number].emplace_back(launch->turn, launch->first_task);
  if (t.of_stream[stream.number].size() > kRememberedLaunches) {
    t.launches.erase(t.of_stream[stream.number].front().second);
    t.of_stream[stream.number].pop_front();
  }
  // Below the first task of any launch that is not known to be done, all is.
  std::uint32_t first_unordered = launch->first_task;
  for (unsigned s = 0; s < t.n_streams; ++s) {
    if (s == stream.number) continue;
    const auto& launches = t.of_stream[s];
    const auto unordered =
        std::upper_bound(launches.begin(), launches.end(), launch->before[s],
                         [](std::uint64_t turn, const auto& entry) { return turn < entry.first; });
    if (unordered != launches.end()) first_unordered = std::min(first_unordered, unordered->second);
  }
  launch->before_id = Id{first_unordered} << kTaskShift;
  // One that overlaps another begins as early as the other, which if it overlaps none is when all before have ended.
  const bool host_waited = stream.number < t.host.size() && t.host[stream.number] + 1 >= launch->turn;
  if (!overlaps || !stream.last_was_kernel || host_waited || full_now) {
    stream.early_turn = launch->turn - 1;
    stream.early_id = Id{launch->first_task} << kTaskShift;
    launch->early_turn = stream.early_turn;
    launch->early_id = launch->before_id;
  } else {
    launch->early_turn = stream.early_turn;
    launch->early_id = std::min(launch->before_id, stream.early_id);
  }
  stream.last_was_kernel = is_kernel;
  LaunchClock* const result = launch.get();
  t.launches.emplace(launch->first_task, std::move(launch));
  return result;
}

}  // namespace

LaunchClock* begin_copy(const std::string& name) { return begin(name, 1, 1, false, false); }

LaunchClock* launch_begins(const Launch& launch) {
  if (launch.n_blocks() > kMaxTask / 2) {
    throw std::runtime_error(std::to_string(launch.n_blocks()) + " blocks; the checked build tells " +
                             std::to_string(kMaxTask / 2) + " apart");
  }
  return begin(launch.kernel, launch.grid_x, static_cast<std::uint32_t>(launch.n_blocks()), true,
               launch.overlaps);
}

void launch_ends(LaunchClock*) {
  Time& t = time();
  const std::lock_guard lock(t.mutex);
  --t.n_running;
}

void block_begins(Block& block, LaunchClock* launch) {
  Time& t = time();
  const std::lock_guard lock(t.mutex);
  if (block.clock == nullptr) block.clock = std::make_shared<BlockClock>();
  BlockClock& clock = *block.clock;
  clock.launch = launch;
  clock.task = launch->first_task + block.y * block.grid_x + block.x;
  clock.barrier = 0;
  clock.acquired.clear();
  clock.threads.clear();
  for (Warp& warp : block.warps) {
    BlockClock::WarpClock& w = clock.warps[warp.index];
    w.epoch = w.ordered = 0;
    w.partners.fill(0);
    w.acquired.clear();
    renew(block, warp);
  }
  for (Lane& lane : block.lanes) {
    lane.before = launch->early_id;
    lane.waited = launch->early_turn + 1 == launch->turn;
    lane.first = Id{launch->first_task} << kTaskShift;
  }
  t.blocks.insert(&clock);
}

void end_clock(BlockClock& block) {
  Time& t = time();
  const std::lock_guard lock(t.mutex);
  t.blocks.erase(&block);
}

void earlier_kernels_ended() {
  current->before = current->block->clock->launch->before_id;
  current->waited = true;
}

void barrier_passed(Block& block) {
  BlockClock& clock = *block.clock;
  if (clock.barrier == kMaxBarrier) {  // all so far becomes epoch 0, which is ordered before the present
    Time& t = time();
    const std::lock_guard lock(t.mutex);
    const Id task = Id{clock.task} << kTaskShift;
    rewrite_shadow(drop_barriers, &task);
    change_known(t, clock.task, [](Known& known) { known = {std::min(known.barrier, 1u), {}}; });
    clock.barrier = 0;
  }
  ++clock.barrier;
  const std::uint32_t before = task_of(clock.launch->before_id);
  bool any = !clock.threads.empty();
  for (Warp& warp : block.warps) any |= !clock.warps[warp.index].acquired.empty();
  if (any) {
    Time& t = time();
    const std::lock_guard lock(t.mutex);
    for (const auto& [thread, acquired] : clock.threads) join_clocks(clock.acquired, acquired, before);
    clock.threads.clear();
    for (Warp& warp : block.warps) {
      join_clocks(clock.acquired, clock.warps[warp.index].acquired, before);
      clock.warps[warp.index].acquired.clear();
    }
  }
  for (Warp& warp : block.warps) {
    BlockClock::WarpClock& w = clock.warps[warp.index];
    w.epoch = w.ordered = 0;
    w.partners.fill(0);
    renew(block, warp);
  }
}

void warp_synchronized(Warp& warp, std::uint32_t mask) {
  Block& block = *warp.lanes[0].block;
  BlockClock& clock = *block.clock;
  BlockClock::WarpClock& w = clock.warps[warp.index];
  const std::uint32_t before = task_of(clock.launch->before_id);
  if ((mask | warp.exited) != kFullMask) {
    Time& t = time();
    const std::lock_guard lock(t.mutex);
    std::uint32_t met = mask;
    Clock acquired;
    for (std::uint32_t rest = mask; rest != 0; rest &= rest - 1) {
      const unsigned lane = static_cast<unsigned>(std::countr_zero(rest));
      met |= w.partners[lane];
      const auto known = clock.threads.find(warp.index * kWarpSize + lane);
      if (known != clock.threads.end()) join_clocks(acquired, known->second, before);
    }
    for (std::uint32_t rest = mask; rest != 0; rest &= rest - 1) {
      const unsigned lane = static_cast<unsigned>(std::countr_zero(rest));
      w.partners[lane] = met;
      if (!acquired.empty()) clock.threads[warp.index * kWarpSize + lane] = acquired;
    }
    return;
  }
  {
    Time& t = time();
    const std::lock_guard lock(t.mutex);
    next_warp_epoch(t, clock, warp.index);
    const auto low = clock.threads.lower_bound(warp.index * kWarpSize);
    const auto high = clock.threads.lower_bound((warp.index + 1) * kWarpSize);
    for (auto at = low; at != high; ++at) join_clocks(w.acquired, at->second, before);
    clock.threads.erase(low, high);
  }
  w.ordered = w.epoch;
  w.partners.fill(0);
  renew(block, warp);
}

Actor Actor::of(const Lane& lane) { return {lane.id, lane.before, lane.block->clock->launch, &lane}; }

bool ordered(Id id, const Actor& actor) {
  if (id < actor.before) return true;
  // Readers of several blocks: the last is kept. Without any release in the launch nothing can order the
  // others either.
  const bool same_launch = actor.launch->holds(task_of(id));
  if ((id & kBlocks) != 0 && same_launch && !actor.launch->released.load(std::memory_order_relaxed))
    return false;
  if (((id ^ actor.me) & kTask) == 0) {
    if (actor.lane == nullptr) return true;
    if (barrier_of(id) != barrier_of(actor.me)) return barrier_of(id) < barrier_of(actor.me);
    if ((id & kWarps) != 0 || warp_of(id) != warp_of(actor.me)) return false;
    const BlockClock::WarpClock& warp = actor.lane->block->clock->warps[warp_of(id)];
    if (warp_epoch_of(id) < warp.ordered) return true;
    if ((id & kLanes) != 0) return false;
    return lane_of(id) == lane_of(actor.me) || (warp.partners[lane_of(actor.me)] >> lane_of(id) & 1) != 0;
  }
  Time& t = time();
  const std::lock_guard lock(t.mutex);
  const LaunchClock* const launch = find_launch(t, task_of(id));
  if (launch == nullptr) return true;
  if (!same_launch && launch->stream < actor.launch->before.size() &&
      actor.launch->before[launch->stream] >= launch->turn) {
    const bool too_early = actor.lane != nullptr && !actor.lane->waited;
    return !too_early || launch->stream != actor.launch->stream || launch->turn <= actor.launch->early_turn;
  }
  if (actor.lane == nullptr) return false;
  const BlockClock& block = *actor.lane->block->clock;
  if (knows(block.acquired, id) || knows(block.warps[warp_of(actor.me)].acquired, id)) return true;
  const auto own = block.threads.find(actor.lane->thread);
  return own != block.threads.end() && knows(own->second, id);
}

Id joined_readers(Id reader, const Actor& actor) {
  const Id me = actor.me;
  if (reader == 0) return me;
  const Id blocks = reader & kBlocks;
  if (((reader ^ me) & kTask) == 0) {
    const bool same_barrier = barrier_of(reader) == barrier_of(me);
    if (!same_barrier || ordered(reader & ~kBlocks, actor)) return me | blocks;
    if ((reader & kWarps) != 0 || warp_of(reader) != warp_of(me)) return me | kWarps | blocks;
    return me | kLanes | blocks;
  }
  if (actor.launch->holds(task_of(reader))) return me | kBlocks;
  return ordered(reader, actor) ? me : me | kBlocks;
}

std::string who(Id id) {
  Time& t = time();
  const std::lock_guard lock(t.mutex);
  const LaunchClock* const launch = find_launch(t, task_of(id));
  if (launch == nullptr) return "an earlier launch";
  const std::uint32_t number = task_of(id) - launch->first_task;
  if (launch->n_tasks == 1 && launch->kernel.starts_with("copy")) return "a copy";
  std::string block = std::to_string(number % launch->grid_x);
  if (number >= launch->grid_x) block = "(" + block + ", " + std::to_string(number / launch->grid_x) + ")";
  return "thread " + std::to_string(thread_of(id)) + " of block " + block + " of " + launch->kernel;
}

void release(const Actor& actor, std::uintptr_t address, bool keeps) {
  Block& block = *actor.lane->block;
  BlockClock& clock = *block.clock;
  const unsigned warp = warp_of(actor.me);
  Time& t = time();
  const std::lock_guard lock(t.mutex);
  const std::uint32_t before = task_of(actor.before);
  actor.launch->released.store(true, std::memory_order_relaxed);
  Clock published = clock.acquired;
  join_clocks(published, clock.warps[warp].acquired, before);
  if (const auto own = clock.threads.find(actor.lane->thread); own != clock.threads.end()) {
    join_clocks(published, own->second, before);
  }
  Known self{clock.barrier, {}};
  const BlockClock::WarpClock& w = clock.warps[warp];
  for (std::uint32_t met = w.partners[lane_of(actor.me)] | actor.lane->bit(); met != 0; met &= met - 1) {
    self.parts.push_back(
        {warp, static_cast<std::uint32_t>(std::countr_zero(met)), w.ordered, warp_epoch_of(actor.me)});
  }
  join_clocks(published, {{clock.task, self}}, before);
  if (address >= kPinned) join_clocks(t.through_host, published, before);
  Clock& word = t.words[address];
  if (keeps) {
    join_clocks(word, published, before);
  } else {
    word = std::move(published);
  }
  next_warp_epoch(t, clock, warp);  // what the thread does from now on has not been released
  renew(block, block.warps[warp]);
}

void acquire(const Actor& actor, std::uintptr_t address) {
  BlockClock& clock = *actor.lane->block->clock;
  Time& t = time();
  const std::lock_guard lock(t.mutex);
  if (address >= kPinned) {
    join_clocks(clock.threads[actor.lane->thread], t.through_host, task_of(actor.before));
    return;
  }
  const auto word = t.words.find(address);
  if (word == t.words.end()) return;
  join_clocks(clock.threads[actor.lane->thread], word->second, task_of(actor.before));
}

void forget(std::uintptr_t address) {
  Time& t = time();
  const std::lock_guard lock(t.mutex);
  t.words.erase(address);
}

}  // namespace simt::checker
