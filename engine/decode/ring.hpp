#pragma once
#include <atomic>
#include <chrono>
#include <deque>
#include <exception>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <thread>

#include "engine/device/buffer.hpp"
#include "engine/device/device.hpp"
#include "engine/model/llama.hpp"
#include "engine/model/resident_program.hpp"
#include "kernels/ring_decode.h"

namespace m40llm {

struct RingOptions {
  unsigned n_jobs = 16;      ///< that can be submitted and not at their end; a power of two, as is n_results
  unsigned n_results = 256;  ///< that can be there untaken, before the grid waits
  int n_blocks = 0;          ///< 0: two an SM
  /// The host's sign of life. Zero: nobody renews it but renew_lease().
  std::chrono::milliseconds lease_period{10};
  // Looks in vain before the grid gives up: at the host's lease, and of a block at the others. 0: some ten seconds of the
  // first and more of the second.
  unsigned lease_looks = 0;
  unsigned looks = 0;
  unsigned start = 0;  ///< where all counters begin
};

/// What a step of a job gave, or that it was cancelled.
struct RingResult {
  unsigned job;
  RingKind kind;
  int token;               ///< chosen; ~i if logit i is the first that is not finite
  double since_submit_us;  ///< from the job's submission until the host has the result, wall
  bool is_last() const { return kind >= RingKind::length; }
};

/// One launch that decodes jobs, one after the other, for as long as the host feeds it: each from position 0 of the model's
/// one sequence, with the bits of its steps. While it lives nothing else may step the model. For one thread at a time.
class Ring {
 public:
  /// Queues the launch on a stream of its own. What was queued to the model before must be done. Throws UsageError on
  /// options that cannot be, and LaunchRefused as a PersistentStep does.
  Ring(Device& device, const Llama& model, const RingOptions& options = {});
  /// Stops it as stop() does, and says nothing.
  ~Ring();
  Ring(const Ring&) = delete;
  Ring& operator=(const Ring&) = delete;

  /// The job's number; none: the queue is full, and has room again once the last result of a job was polled. `stops` are
  /// tokens that end it. Throws Error on an empty prompt, a token out of range, fewer than one token to generate, more than
  /// fit behind the prompt, or too many stops.
  std::optional<unsigned> submit(std::span<const int> prompt, int n_tokens, std::span<const int> stops = {});
  /// The next result, in order of jobs and steps, if it is there. The one before counts as taken from here on, not
  /// earlier: with n_results = 1 no step begins before the host asks for its result. Throws DeviceFault if a job is not at
  /// its end and the device or the grid has failed.
  std::optional<RingResult> poll();
  /// As poll(), after at most so long.
  std::optional<RingResult> wait(std::chrono::milliseconds at_most);
  /// The job ends before its next step, if that has not begun, or the step behind it. Its last result says so, unless it
  /// was at its end before. Throws Error if no such job is submitted or its last result was polled.
  void cancel(unsigned job);
  /// The grid ends before its next step; jobs that are not at their end never will be. Waits for it: one that goes on all
  /// the same is left without a lease. Throws DeviceFault if the device or the grid has failed.
  void stop();
  /// Whether the launch has ended, for whatever reason.
  bool has_ended() const { return over_.load(); }
  void renew_lease();

  /// What is launched, without its configuration.
  static Launch kernel();

 private:
  /// A job whose last result was not polled.
  struct Submitted {
    unsigned number;
    std::chrono::steady_clock::time_point at;
  };
  void end() noexcept;
  void check_end() const;

  const Llama& model_;
  RingOptions options_;
  std::unique_ptr<Stream> stream_;
  std::unique_ptr<Event> launched_;  // passed when the launch is over
  ResidentProgram program_;
  Buffer<unsigned> barrier_;
  Buffer<RingGrid> grid_;
  PinnedBuffer<RingRequests> requests_;
  PinnedBuffer<RingJob> jobs_;                // (n_jobs)
  PinnedBuffer<unsigned> prompts_;            // (n_jobs, n_positions)
  PinnedBuffer<unsigned long long> results_;  // (n_results)
  PinnedBuffer<unsigned> ended_;
  Launch launch_;
  unsigned next_job_, next_result_;
  std::deque<Submitted> submitted_;   // in order; the first is at work, or the next
  std::atomic<bool> over_ = false;    // what the host waits for when it waits for the launch
  std::exception_ptr fault_;          // of the device; once it is over
  std::jthread renewing_, watching_;  // last: they use the above
};

}  // namespace m40llm
