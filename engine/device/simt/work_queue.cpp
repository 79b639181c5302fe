#include "engine/device/simt/work_queue.hpp"

#include <iterator>
#include <utility>

namespace m40llm {

using State = simt::Activity::State;

std::uint64_t WorkQueue::push(Job job) {
  std::uint64_t number = 0;
  {
    const std::lock_guard lock(mutex_);
    jobs_.push_back(std::move(job));
    number = ++n_pushed_;
    if (n_pushed_ == n_done_ + 1) activity_.state.store(State::moves);
  }
  changed_.notify_all();
  return number;
}

void WorkQueue::wait(std::uint64_t number) {
  std::unique_lock lock(mutex_);
  if (n_done_ >= number) return;
  awaited_.insert(number);
  activity_.activity.host_waits();
  changed_.wait(lock, [&] { return n_done_ >= number; });
}

std::uint64_t WorkQueue::last() const {
  const std::lock_guard lock(mutex_);
  return n_pushed_;
}

void WorkQueue::serve() {
  std::unique_lock lock(mutex_);
  for (;;) {
    changed_.wait(lock, [&] { return closed_ || !jobs_.empty(); });
    if (jobs_.empty()) return;
    {
      const Job job = std::move(jobs_.front());
      jobs_.pop_front();
      lock.unlock();
      job();
    }
    activity_.activity.moved();
    lock.lock();
    ++n_done_;
    const auto satisfied = awaited_.upper_bound(n_done_);
    activity_.activity.host_goes_on(static_cast<unsigned>(std::distance(awaited_.begin(), satisfied)));
    awaited_.erase(awaited_.begin(), satisfied);
    if (n_done_ == n_pushed_) activity_.state.store(State::still);
    changed_.notify_all();
  }
}

void WorkQueue::close() {
  {
    const std::lock_guard lock(mutex_);
    closed_ = true;
  }
  changed_.notify_all();
}

}  // namespace m40llm
