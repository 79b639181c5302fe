#pragma once
// The first block's first thread alone speaks with the host. Between two steps it tells the last one's result and finds
// out what comes next; all other blocks wait for it at the barrier of the grid, behind which they read its command.
//
// Who sees what:
//  - A job. The host writes its place and the row of its prompt, then `submitted` with release. The thread reads
//    `submitted` with acquire and then the place, by loads that no cache of the GPU answers (an earlier job stood there).
//    It copies the prompt into device memory, where advance reads it, and arrives at the barrier: a release, as cumulative
//    as the acquire of those that wait, so all blocks see token and position.
//  - A result. Each block has released what it wrote at the barrier before the choice of the token, which the first block
//    has acquired; its first warp writes the choice, and __syncthreads gives it to the first thread. That releases to the
//    system with the result, so the host that acquires it may copy logits on another stream. Number and token are
//    one word: none is seen without the other.
//  - The place of a result is written again only when `taken`, read with acquire, says that the host has read it.
//  - The place of a job is written again only when the host has acquired the job's last result, which the thread released
//    behind its last look at the place.
//  - A job is claimed once: there is one thread that claims, and it counts on.
// Before sm_70 there is no release or acquire: a fence of the system stands where one is meant, and all words here are
// read and written by volatile accesses, which go to the host's memory.
//
// Nobody waits without a bound. While the first block waits for the host it counts the looks at which the lease stood
// still, and ends the launch when there were too many; idle is told from dead by the lease, which a host that lives renews
// with or without jobs. The other blocks' looks count from the last beat of the first.
#include "kernels/persistent_decode.cuh"
#include "kernels/ring_decode.h"

namespace ops::ring_decode {

/// What the thread that speaks with the host keeps between two steps.
struct Talk {
  unsigned job;     // the number of the next to claim; the one at work is the one before it
  unsigned result;  // the number of the next
  unsigned taken;   // by the host, as far as it was looked at
  unsigned works;   // 1: on a job
  unsigned left;    // tokens to generate
  unsigned n_stops;
  unsigned stops[kRingStops];
  unsigned lease;  // as last seen,
  unsigned vain;   // and at so many looks since then
  unsigned beat;
};

struct Shared {
  persistent_decode::Shared step;
  Talk talk;  // the first block's
  RingCommand command;
};
static_assert(sizeof(Shared) <= kPersistentOwnBytes);

/// A look at the lease: whether the host lives.
__device__ __forceinline__ bool host_lives(const RingDecodeParams& p, Talk& talk) {
  store_relaxed(&p.grid->beat, ++talk.beat);
  const unsigned lease = load_relaxed_system(&p.requests->lease);
  if (lease != talk.lease) {
    talk.lease = lease;
    talk.vain = 0;
    return true;
  }
  return ++talk.vain < p.lease_looks;
}

/// Waits until done(*word), a word of the host's. False: the launch is to end, and the host can read why.
template <class Done>
__device__ __forceinline__ bool await(const RingDecodeParams& p, Talk& talk, const unsigned* word,
                                      Done done) {
  unsigned end = 0;
  spin_until_system(word, [&](unsigned now) {
    if (done(now)) return true;
    if (load_relaxed_system(&p.requests->stop) != 0) {
      end = kRingStopped;
    } else if (!host_lives(p, talk)) {
      end = kRingLeaseRanOut;
    }
    return end != 0;
  });
  if (end != 0) store_release_system(p.step.stood, end);
  return end == 0;
}

/// There is room: before_step() has waited for it.
__device__ __forceinline__ void tell(const RingDecodeParams& p, Talk& talk, int token, RingKind kind) {
  const unsigned tag = talk.result << kRingKindBits | static_cast<unsigned>(kind);
  store_release_system(p.results + (talk.result & (p.n_results - 1)),
                       static_cast<unsigned long long>(tag) << 32 | static_cast<unsigned>(token));
  ++talk.result;
  talk.works = kind == RingKind::prefill || kind == RingKind::decode ? 1 : 0;
}

/// What the step was that advance has gone on from.
__device__ __forceinline__ RingKind kind_of_step(const RingDecodeParams& p, Talk& talk, int chosen) {
  if (chosen < 0) return RingKind::not_finite;
  if (*p.position < *p.prompt_length) return RingKind::prefill;
  for (unsigned i = 0; i < talk.n_stops; ++i) {
    if (talk.stops[i] == static_cast<unsigned>(chosen)) return RingKind::stop_token;
  }
  return --talk.left == 0 ? RingKind::length : RingKind::decode;
}

/// Waits for a job and feeds it. False: the launch is to end.
__device__ __forceinline__ bool claim(const RingDecodeParams& p, Talk& talk) {
  const unsigned next = talk.job;
  if (!await(p, talk, &p.requests->submitted,
             [next](unsigned submitted) { return static_cast<int>(submitted - next) > 0; }))
    return false;
  const unsigned place = next & (p.n_jobs - 1);
  const RingJob* const job = p.jobs + place;
  const unsigned* const prompt = p.prompts + static_cast<long long>(place) * p.prompt_stride;
  const int n_prompt = static_cast<int>(load_relaxed_system(&job->n_prompt));
  for (int i = 0; i < n_prompt; ++i) p.prompt[i] = static_cast<int>(load_relaxed_system(prompt + i));
  *p.prompt_length = n_prompt;
  *p.token = p.prompt[0];
  *p.position = 0;
  talk.left = load_relaxed_system(&job->n_tokens);
  talk.n_stops = load_relaxed_system(&job->n_stops);
  for (unsigned i = 0; i < talk.n_stops; ++i) talk.stops[i] = load_relaxed_system(job->stops + i);
  talk.works = 1;
  ++talk.job;
  return true;
}

/// The next step of the job at work, if there is to be one: room for its result, and nobody who wants it to end.
__device__ __forceinline__ RingCommand before_step(const RingDecodeParams& p, Talk& talk) {
  if (talk.result - talk.taken >= p.n_results) {
    const unsigned result = talk.result;
    const unsigned n_results = p.n_results;
    if (!await(p, talk, &p.requests->taken, [&](unsigned taken) {
          talk.taken = taken;
          return result - taken < n_results;
        }))
      return RingCommand::stop;
  }
  const unsigned at_work = talk.job - 1;
  const unsigned stop = load_relaxed_system(&p.requests->stop);
  const unsigned cancelled = load_relaxed_system(&p.jobs[at_work & (p.n_jobs - 1)].cancelled);
  if (stop != 0) {
    store_release_system(p.step.stood, kRingStopped);
    return RingCommand::stop;
  }
  if (cancelled == at_work) {
    tell(p, talk, 0, RingKind::cancelled);
    return RingCommand::none;
  }
  return *p.position < *p.prompt_length ? RingCommand::prefill : RingCommand::decode;
}

/// By the thread that speaks with the host: ends the last step, if there was one, and returns what comes next.
__device__ __forceinline__ RingCommand talk_to_host(const RingDecodeParams& p, Talk& talk) {
  if (talk.works != 0) {
    const int chosen = *p.chosen;
    tell(p, talk, chosen, kind_of_step(p, talk, chosen));
  }
  RingCommand next = RingCommand::none;
  while (next == RingCommand::none) {
    if (talk.works == 0 && !claim(p, talk)) return RingCommand::stop;
    next = before_step(p, talk);
  }
  return next;
}

/// By each block's first thread. The others' patience begins anew whenever the first block has looked at the host.
__device__ __forceinline__ void meet_first_block(const RingDecodeParams& p, Shared& shared) {
  atomic_add_release(p.step.barrier, 1u);
  const unsigned awaited = shared.step.awaited += gridDim.x;
  unsigned beat = load_relaxed(&p.grid->beat);
  while (!spin_at_most(p.step.looks, p.step.barrier, [awaited](unsigned arrived) {
    return persistent_decode::reached(arrived, awaited);
  })) {
    const unsigned now = load_relaxed(&p.grid->beat);
    if (now == beat) {
      persistent_decode::stand(p.step, p.step.n_ops, shared.step);
      return;
    }
    beat = now;
  }
}

/// By all threads: what comes next, behind a __syncthreads.
__device__ __forceinline__ RingCommand hear(const RingDecodeParams& p, Shared& shared) {
  if (threadIdx.x == 0) {
    if (blockIdx.x == 0) store_relaxed(&p.grid->command, static_cast<unsigned>(talk_to_host(p, shared.talk)));
    meet_first_block(p, shared);
    shared.command = shared.step.gave_up != 0 ? RingCommand::stop
                                              : static_cast<RingCommand>(load_relaxed(&p.grid->command));
  }
  persistent_decode::fetch_first(p.step, shared.step);
  __syncthreads();
  return shared.command;
}

__device__ __forceinline__ void run(const RingDecodeParams& p, float4* memory, Shared& shared) {
  persistent_decode::begin(p.step, shared.step);
  if (blockIdx.x == 0 && threadIdx.x == 0) {
    Talk& talk = shared.talk;
    talk.job = talk.result = talk.taken = p.start;
    talk.works = talk.lease = talk.vain = talk.beat = 0;
  }
  __syncthreads();
  // One loop, not one in another: ptxas would keep what does not change from step to step in registers, and spill.
  for (int op = 0; shared.step.stood == 0; op = op + 1 < p.step.n_ops ? op + 1 : 0) {
    if (op == 0 && hear(p, shared) == RingCommand::stop) return;
    persistent_decode::share(shared.step.op(op), memory, shared.step,
                             persistent_decode::Wait{p.step, shared.step, op});
    persistent_decode::done(p.step, op, shared.step);
  }
}

}  // namespace ops::ring_decode
