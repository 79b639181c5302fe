#include "bench/timed_sets.hpp"

#include <algorithm>
#include <cmath>

#include "engine/device/memory.hpp"
#include "engine/error.hpp"

namespace m40llm::bench {
namespace {

/// A sample shorter than this would mostly be the events' own time, so short kernels are launched several
/// times a sample.
constexpr double kShortestSampleUs = 100;
constexpr int kMostLaunchesPerSample = 256;
/// More is read no faster.
constexpr double kMostPlainRead = 1 << 30;

}  // namespace

TimedSets::TimedSets(Device& device, Stream& stream, const Suite& suite, const Case& first)
    : device_(device),
      stream_(stream),
      suite_(suite),
      first_(first),
      before_(device.create_event()),
      after_(device.create_event()) {
  add();
}

void TimedSets::add() {
  Case c = first_;
  c.seed += sets_.size();
  sets_.push_back(suite_.trial(device_, c));
}

void TimedSets::drop() {
  if (sets_.size() > 1) sets_.pop_back();
}

void TimedSets::prepare(LaunchedBy by) {
  for (const auto& set : sets_) set->reset(stream_);
  graph_.reset();
  launches_per_sample_ = 1;
  sample_us();
  if (device_.info().kind == DeviceKind::cuda) {
    const double once_us = std::max(0.5, sample_us());
    launches_per_sample_ = static_cast<int>(
        std::clamp(std::ceil(kShortestSampleUs / once_us), 1.0, static_cast<double>(kMostLaunchesPerSample)));
  }
  if (by == LaunchedBy::launches) return;
  // Whole rounds: a graph is the same launches again and again, and none of the sets may be left out.
  const auto n = static_cast<int>(sets_.size());
  launches_per_sample_ = (launches_per_sample_ + n - 1) / n * n;
  std::vector<Launch> launches;
  for (int i = 0; i < launches_per_sample_; ++i) {
    const std::span<const Launch> of_set = sets_[static_cast<std::size_t>(i % n)]->launches();
    launches.insert(launches.end(), of_set.begin(), of_set.end());
  }
  graph_ = device_.create_graph(launches);
  sample_us();  // the first launch of a graph uploads it
}

double TimedSets::sample_us() {
  stream_.record(*before_);
  if (graph_ != nullptr) {
    stream_.launch(*graph_);
  } else {
    for (int i = 0; i < launches_per_sample_; ++i) sets_[next_++ % sets_.size()]->launch(stream_);
  }
  stream_.record(*after_);
  stream_.synchronize();
  return std::round(1000 * after_->elapsed_us(*before_) / launches_per_sample_) / 1000;
}

Verdict TimedSets::judge_again() {
  Verdict worst;
  bool first = true;
  for (const auto& set : sets_) {
    set->reset(stream_);
    set->launch(stream_);
    const Verdict verdict = set->judge(stream_);
    if (first || !verdict.passed || (worst.passed && verdict.error_over_bound > worst.error_over_bound))
      worst = verdict;
    first = false;
    if (!worst.passed) break;
  }
  return worst;
}

std::string add_sets(TimedSets& sets, TimedSets* beside, double bytes, std::size_t most) {
  try {
    while (sets.bytes() <= bytes && sets.size() < most) {
      if (beside != nullptr) beside->add();
      sets.add();
    }
  } catch (const OutOfMemory& error) {
    sets.drop();
    while (beside != nullptr && beside->size() > sets.size()) beside->drop();
    return error.what();
  }
  if (sets.bytes() > bytes) return "";
  return std::to_string(sets.size()) + " input sets are the most that are made";
}

Case plain_read_of(double bytes) {
  const Suite& read = suite("read");
  const auto words = 4 * static_cast<int>(std::ceil(std::min(bytes, kMostPlainRead) / 16));
  return {read.op(), read.variants().front().name, {{"n", words}}, read.inputs().front()};
}

}  // namespace m40llm::bench
