#pragma once
#include <vector>

#include "engine/device/device.hpp"
#include "engine/model/llama.hpp"

namespace m40llm::bench {

/// What a job of one step gave, and when.
struct FirstResult {
  double latency_us;  ///< wall, from the call that submits the job until the host has its result
  int token;          ///< chosen
};

/// Takes `n` jobs by `way`, one after the other: a prompt of `token` alone, one token to generate. By Way::ring they go to a
/// grid that runs and waits; by others to the host, which starts a sequence, takes its step and fetches what it chose. A job
/// that went before is not among them: the first makes what a way needs. Fewer after Ctrl-C.
std::vector<FirstResult> first_results(Device& device, Stream& stream, Llama& model, Way way, int token,
                                       int n);

}  // namespace m40llm::bench
