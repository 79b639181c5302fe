#pragma once
#include <cstddef>
#include <memory>
#include <string>
#include <vector>

#include "bench/suite.hpp"

namespace m40llm::bench {

/// What puts the launches of a sample on the device: a call each, or one call a sample, so that the gaps between
/// launches that short kernels would show are as small as in a model's step.
enum class LaunchedBy { launches, graph };

/// Input sets of one case on a device, launched in turn between two events.
class TimedSets {
 public:
  /// With one set, of the first case. Throws as Suite::trial does; device, stream and suite must outlive it.
  TimedSets(Device& device, Stream& stream, const Suite& suite, const Case& first);

  /// One set more, its seed the next. Throws as Suite::trial does.
  void add();
  /// The last one, not the first, is given back.
  void drop();
  std::size_t size() const { return sets_.size(); }
  /// Of a launch.
  Work work() const { return sets_.front()->work(); }
  double bytes() const { return work().bytes * static_cast<double>(size()); }
  const Case& first() const { return first_; }

  /// Launches for the first time, which loads the kernel, and chooses how many launches a sample has. To be called
  /// when all sets are there.
  void prepare(LaunchedBy by);
  int launches_per_sample() const { return launches_per_sample_; }
  /// The time of one launch, as a mean over a sample's launches; to the nanosecond, finer than any of the timers.
  double sample_us();

  /// Resets and launches each set and judges what it gives: the worst. Kernels that change their input in place have
  /// been applied many times over by now.
  Verdict judge_again();

 private:
  Device& device_;
  Stream& stream_;
  const Suite& suite_;
  Case first_;
  std::vector<std::unique_ptr<Trial>> sets_;
  std::unique_ptr<Event> before_, after_;
  std::unique_ptr<Graph> graph_;  // of a sample's launches; null: they are launched one by one
  std::size_t next_ = 0;
  int launches_per_sample_ = 1;
};

/// Adds sets until they hold more than `bytes` together, or are so many; to `beside`, if there is one, as many as to
/// `sets`. Returns why there are fewer than that; empty: there are not. Where memory ends, what was taken last is given
/// back: loading kernels and making graphs take some too.
std::string add_sets(TimedSets& sets, TimedSets* beside, double bytes, std::size_t most);

/// Of the op `read`: so many bytes, rounded up to whole loads; at most 1 GiB.
Case plain_read_of(double bytes);

}  // namespace m40llm::bench
