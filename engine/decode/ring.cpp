#include "engine/decode/ring.hpp"

#include <algorithm>
#include <array>
#include <bit>
#include <condition_variable>
#include <mutex>

#include "engine/decode/greedy.hpp"
#include "engine/error.hpp"

extern "C" void ring_decode(RingDecodeParams);

namespace m40llm {
namespace {

using Clock = std::chrono::steady_clock;

// A token of a small model takes a GPU less than a millisecond: for so long the host asks without sleeping.
constexpr auto kAsksAtOnceFor = std::chrono::milliseconds(2);
constexpr auto kNap = std::chrono::microseconds(100);
constexpr auto kStopsWithin = std::chrono::seconds(10);

/// A look across PCIe takes a GPU one to two microseconds; the SIMT device looks every half millisecond when it waits for
/// long.
unsigned default_lease_looks(const Device& device) {
  return device.info().kind == DeviceKind::cuda ? 1u << 23 : 1u << 14;
}
unsigned default_looks(const Device& device) {
  return device.info().kind == DeviceKind::cuda ? kPersistentLooks : 1u << 17;
}

void check_size(const char* what, unsigned n) {
  if (std::has_single_bit(n) && n <= 1u << 16) return;
  throw UsageError("a ring with room for " + std::to_string(n) + " " + what +
                   "; expected a power of two, at most " + std::to_string(1 << 16));
}

RingOptions complete(const Device& device, RingOptions options) {
  check_size("jobs", options.n_jobs);
  check_size("results", options.n_results);
  if (options.n_blocks < 0)
    throw UsageError("a ring of " + std::to_string(options.n_blocks) +
                     " blocks; expected at least 1, or 0 for two an SM");
  if (options.n_blocks == 0) options.n_blocks = kPersistentBlocksPerSm * device.n_sms();
  if (options.lease_looks == 0) options.lease_looks = default_lease_looks(device);
  if (options.looks == 0) options.looks = default_looks(device);
  return options;
}

template <class T>
std::atomic_ref<T> word(T& of_pinned_memory) {
  static_assert(std::atomic_ref<T>::is_always_lock_free);
  return std::atomic_ref<T>(of_pinned_memory);
}

std::size_t place(unsigned number, unsigned n) { return number & (n - 1); }

constexpr Kernel<RingDecodeParams> kKernel{"ring_decode", ring_decode};

}  // namespace

Ring::Ring(Device& device, const Llama& model, const RingOptions& options)
    : model_(model),
      options_(complete(device, options)),
      stream_(device.create_stream()),
      launched_(device.create_event()),
      program_(device, *stream_, model.plan(Way::persistent), options_.n_blocks),
      barrier_(device, 2, kResidentOwner),
      grid_(device, 1, kResidentOwner),
      requests_(device, 1),
      jobs_(device, options_.n_jobs),
      prompts_(device, options_.n_jobs * static_cast<std::size_t>(model.n_positions())),
      results_(device, options_.n_results),
      ended_(device, 1),
      launch_(kKernel,
              {.grid = {static_cast<unsigned>(options_.n_blocks)},
               .block = kPersistentBlock,
               .shared_bytes = program_.shared_bytes(),
               .resident = true,
               .host_fed = true},
              RingDecodeParams{.step = {.program = program_.data(),
                                        .barrier = barrier_.data(),
                                        .stood = ended_.span().data(),
                                        .n_ops = static_cast<int>(program_.ops().size()),
                                        .start = options_.start,
                                        .looks = options_.looks},
                               .token = model.workspace().token(),
                               .position = model.workspace().position(),
                               .prompt = model.workspace().prompt(),
                               .prompt_length = model.workspace().prompt_length(),
                               .chosen = model.workspace().chosen().data(),
                               .requests = requests_.span().data(),
                               .jobs = jobs_.span().data(),
                               .prompts = prompts_.span().data(),
                               .results = results_.span().data(),
                               .grid = grid_.data(),
                               .n_jobs = options_.n_jobs,
                               .n_results = options_.n_results,
                               .start = options_.start,
                               .lease_looks = options_.lease_looks,
                               .prompt_stride = model.n_positions()}),
      next_job_(options_.start),
      next_result_(options_.start) {
  requests_[0] = {.submitted = options_.start, .taken = options_.start, .stop = 0, .lease = options_.start};
  ended_[0] = 0;
  // No place holds what it will be looked at for: numbers of the round before.
  for (unsigned i = 0; i < options_.n_jobs; ++i) {
    const unsigned number = options_.start + i;
    jobs_[place(number, options_.n_jobs)].cancelled = number - options_.n_jobs;
  }
  for (unsigned i = 0; i < options_.n_results; ++i) {
    const unsigned number = options_.start + i;
    results_[place(number, options_.n_results)] =
        static_cast<unsigned long long>((number - options_.n_results) << kRingKindBits) << 32;
  }
  model.workspace().feed(*stream_, 0, 0);
  barrier_.upload(*stream_, std::array{options_.start, 0u});
  stream_->fill(grid_.data(), 0, grid_.bytes());
  stream_->launch(launch_);
  stream_->record(*launched_);
  watching_ = std::jthread([this] {
    try {
      launched_->synchronize();
      stream_->synchronize();
    } catch (const std::exception&) {
      fault_ = std::current_exception();
    }
    over_.store(true);
  });
  if (options_.lease_period.count() == 0) return;
  renewing_ = std::jthread([this](const std::stop_token& ends) {
    std::mutex mutex;
    std::condition_variable_any asked;
    std::unique_lock lock(mutex);
    while (!asked.wait_for(lock, ends, options_.lease_period, [&] { return ends.stop_requested(); }))
      renew_lease();
  });
}

Ring::~Ring() { end(); }

Launch Ring::kernel() { return {kKernel, {}, {}}; }

void Ring::end() noexcept {
  word(requests_[0].stop).store(1, std::memory_order_release);
  const auto until = Clock::now() + kStopsWithin;
  while (!has_ended()) {
    if (Clock::now() >= until) renewing_ = {};
    std::this_thread::sleep_for(kNap);
  }
}

std::optional<unsigned> Ring::submit(std::span<const int> prompt, int n_tokens, std::span<const int> stops) {
  if (n_tokens < 1) throw Error(std::to_string(n_tokens) + " tokens to generate; a job has at least one");
  check_room(prompt, n_tokens, model_.n_positions());
  for (const int token : prompt) model_.check_token(token);
  if (stops.size() > kRingStops) {
    throw Error(std::to_string(stops.size()) + " tokens that end a job; there is room for " +
                std::to_string(kRingStops));
  }
  if (has_ended()) throw Error("the ring has ended: it takes no job");
  if (submitted_.size() == options_.n_jobs) return std::nullopt;
  const std::size_t at = place(next_job_, options_.n_jobs);
  RingJob& job = jobs_[at];
  job.n_prompt = static_cast<unsigned>(prompt.size());
  job.n_tokens = static_cast<unsigned>(n_tokens);
  job.n_stops = static_cast<unsigned>(stops.size());
  std::ranges::copy(stops, job.stops);
  std::ranges::copy(prompt, &prompts_[at * static_cast<std::size_t>(model_.n_positions())]);
  submitted_.push_back({next_job_, Clock::now()});
  word(requests_[0].submitted).store(next_job_ + 1, std::memory_order_release);
  return next_job_++;
}

std::optional<RingResult> Ring::poll() {
  word(requests_[0].taken).store(next_result_, std::memory_order_release);
  const auto look = [&]() -> std::optional<RingResult> {
    const unsigned long long packed =
        word(results_[place(next_result_, options_.n_results)]).load(std::memory_order_acquire);
    const auto tag = static_cast<unsigned>(packed >> 32);
    const unsigned kind = tag - (next_result_ << kRingKindBits);
    if (kind >> kRingKindBits != 0) return std::nullopt;
    const Submitted& job = submitted_.front();
    const double us = std::chrono::duration<double, std::micro>(Clock::now() - job.at).count();
    return RingResult{job.number, static_cast<RingKind>(kind), static_cast<int>(packed), us};
  };
  std::optional<RingResult> result = look();
  if (!result && has_ended()) {
    result = look();  // told before it ended
    if (!result && !submitted_.empty()) check_end();
  }
  if (!result) return std::nullopt;
  ++next_result_;
  if (result->is_last()) submitted_.pop_front();
  return result;
}

std::optional<RingResult> Ring::wait(std::chrono::milliseconds at_most) {
  const auto since = Clock::now();
  const auto until = since + at_most;
  for (;;) {
    const bool over = has_ended();
    if (std::optional<RingResult> result = poll()) return result;
    const auto now = Clock::now();
    if (over || now >= until) return std::nullopt;
    if (now - since < kAsksAtOnceFor) {
      std::this_thread::yield();
    } else {
      std::this_thread::sleep_for(kNap);
    }
  }
}

void Ring::cancel(unsigned job) {
  if (std::ranges::find(submitted_, job, &Submitted::number) == submitted_.end())
    throw Error("job " + std::to_string(job) + " is not there to be cancelled");
  word(jobs_[place(job, options_.n_jobs)].cancelled).store(job, std::memory_order_release);
}

void Ring::stop() {
  end();
  check_end();
}

void Ring::renew_lease() { word(requests_[0].lease).fetch_add(1, std::memory_order_relaxed); }

void Ring::check_end() const {
  if (fault_) std::rethrow_exception(fault_);
  const unsigned why = word(ended_[0]).load(std::memory_order_acquire);
  if (why == kRingStopped) return;
  if (why == kRingLeaseRanOut) {
    throw DeviceFault("kernel 'ring_decode' ended by itself: the host's lease stood still at " +
                      std::to_string(options_.lease_looks) + " looks");
  }
  throw program_.stood("ring_decode", why - 1);
}

}  // namespace m40llm
