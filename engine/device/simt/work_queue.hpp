#pragma once
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <functional>
#include <mutex>
#include <set>

#include "kernels/simt/activity.hpp"

namespace m40llm {

/// A stream's jobs, done in order by the one thread that serves them. Outlives the stream where another thread
/// still waits for it.
class WorkQueue {
 public:
  using Job = std::function<void()>;

  WorkQueue(simt::Activity& device, unsigned n_workers) : activity_(device, n_workers) {}

  simt::Activity::Stream& activity() { return activity_; }

  /// Returns the job's number, from 1 on.
  std::uint64_t push(Job job);
  /// Blocks until the jobs up to that number are done.
  void wait(std::uint64_t number);
  /// The number of the last job pushed.
  std::uint64_t last() const;
  /// Does jobs until the queue is closed and empty. A job throws nothing.
  void serve();
  void close();

 private:
  simt::Activity::Stream activity_;
  mutable std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<Job> jobs_;
  std::uint64_t n_pushed_ = 0;
  std::uint64_t n_done_ = 0;
  std::multiset<std::uint64_t> awaited_;  // numbers that threads of the host wait for
  bool closed_ = false;
};

}  // namespace m40llm
