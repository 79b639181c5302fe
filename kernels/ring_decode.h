#pragma once
#include "kernels/persistent_decode.h"

/// What a resident grid and the host say to each other, in pinned memory: jobs in, results out. Each word has one writer.
/// Counters are compared by their differences: they wrap around.

constexpr unsigned kRingStops = 16;

/// A job's place in the queue; job n has place n % n_jobs until the host has seen its last result. The host writes it.
struct RingJob {
  unsigned n_prompt;  // tokens, at least one; they stand in the place's row of `prompts`
  unsigned n_tokens;  // to generate, at least one
  unsigned n_stops;
  unsigned stops[kRingStops];  // tokens that end the job
  unsigned cancelled;          // the number of a job of this place that is to end; another: none
};

/// What else the host writes.
struct RingRequests {
  unsigned
      submitted;   // the number of the next job: written behind its place, so all before it can be claimed
  unsigned taken;  // the number of the first result that the host has not taken
  unsigned stop;   // 1: the grid is to end
  unsigned lease;  // counts on for as long as the host lives
};

/// What a result is. Those from `length` on are their job's last.
enum class RingKind : unsigned {
  prefill,     // of a step within the prompt: what would have followed
  decode,      // a token
  length,      // the last of those asked for
  stop_token,  // one of the job's
  not_finite,  // ~i: logit i is the first that is not finite
  cancelled,   // no token
};

/// Result n, in one aligned word of 8 bytes at n % n_results: the token below, and above it n and the kind, so that who
/// sees n sees the token.
constexpr unsigned kRingKindBits = 3;

/// What the whole grid does next.
enum class RingCommand : unsigned {
  none,     // not known yet
  prefill,  // a step within a prompt
  decode,   // a step behind it
  stop,
};

/// Of device memory.
struct RingGrid {
  unsigned command;  // the first block's to all, behind a barrier
  unsigned beat;     // counts on for as long as the first block waits for the host
};

// Why the launch has ended, where PersistentDecodeParams::stood has no op.
constexpr unsigned kRingStopped = ~0u;
constexpr unsigned kRingLeaseRanOut = ~0u - 1;

/// Steps of a resident grid for as long as the host feeds it.
struct RingDecodeParams {
  PersistentDecodeParams step;   // its `advance` among the ops; `stood` is told of every end
  int* token;                    // what advance works on, of the one row
  int* position;                 //
  int* prompt;                   //
  int* prompt_length;            //
  const int* chosen;             //
  const RingRequests* requests;  // pinned, as are the next three
  const RingJob* jobs;           // (n_jobs)
  const unsigned* prompts;       // (n_jobs, prompt_stride)
  unsigned long long* results;   // (n_results)
  RingGrid* grid;
  unsigned n_jobs;       // a power of two, as is n_results
  unsigned n_results;    //
  unsigned start;        // the number of the first job, and of the first result
  unsigned lease_looks;  // of the first block while the lease does not move, before it ends the launch
  int prompt_stride;
};
