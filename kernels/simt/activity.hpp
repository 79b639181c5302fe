#pragma once
#include <algorithm>
#include <atomic>
#include <cstdint>
#include <mutex>
#include <vector>

/// What moves on a device, and so may still write a word that lanes wait for. A launch whose lanes all wait is
/// deadlocked only if nothing does.
namespace simt {

class Activity {
 public:
  /// Marks of a worker in place of the number of steps at which it found all its blocks waiting.
  static constexpr std::uint64_t kMoves = ~std::uint64_t{0} - 1;
  static constexpr std::uint64_t kNoBlocks = ~std::uint64_t{0};

  enum class State {
    still,      ///< no work, or it waits for another stream's event: cannot write by itself
    moves,      ///< works, or may at any time
    in_launch,  ///< its workers say
  };

  /// One stream's part.
  class Stream {
   public:
    Stream(Activity& device, unsigned n_workers) : activity(device), worker_at(n_workers) {
      for (auto& at : worker_at) at.store(kNoBlocks);
      const std::lock_guard lock(device.mutex_);
      device.streams_.push_back(this);
    }
    ~Stream() {
      const std::lock_guard lock(activity.mutex_);
      std::erase(activity.streams_, this);
    }
    Stream(const Stream&) = delete;
    Stream& operator=(const Stream&) = delete;

    Activity& activity;
    std::atomic<State> state = State::still;
    std::vector<std::atomic<std::uint64_t>> worker_at;
  };

  /// To be called after anything that may have written memory, before it counts as still.
  void moved() { steps_.fetch_add(1); }
  std::uint64_t steps() const { return steps_.load(); }

  /// A thread of the host begins to wait for the device, or need wait no more. While none does, the host itself
  /// may write, or submit work that will.
  void host_waits() { n_waiting_.fetch_add(1); }
  void host_goes_on(unsigned n_threads) { n_waiting_.fetch_sub(n_threads); }

  /// Whether nothing moves: what was found waiting at that number of steps waits for ever, unless a thread of
  /// the host that does not wait for the device writes.
  bool nothing_moves(std::uint64_t at_steps) {
    const std::lock_guard lock(mutex_);
    return n_waiting_.load() != 0 &&
           std::ranges::all_of(streams_, [&](const Stream* stream) { return is_still(*stream, at_steps); }) &&
           steps() == at_steps;  // who moved in the meantime may be still now, and has written
  }

 private:
  static bool is_still(const Stream& stream, std::uint64_t at_steps) {
    const State state = stream.state.load();
    if (state != State::in_launch) return state == State::still;
    bool any = false;  // without a worker that waits, the launch has ended
    for (const auto& worker : stream.worker_at) {
      const std::uint64_t at = worker.load();
      if (at != at_steps && at != kNoBlocks) return false;
      any |= at == at_steps;
    }
    return any;
  }

  std::atomic<std::uint64_t> steps_ = 0;
  std::atomic<unsigned> n_waiting_ = 0;
  std::mutex mutex_;
  std::vector<Stream*> streams_;
};

}  // namespace simt
