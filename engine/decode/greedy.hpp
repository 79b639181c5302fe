#pragma once
#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "engine/device/device.hpp"
#include "engine/error.hpp"
#include "engine/model/llama.hpp"

namespace m40llm {

/// What one token took: from the call that queues its forward pass, by Way::ring from where the host has room for its
/// result, until the host knows the next token.
struct DecodeStep {
  int token = 0;            ///< fed
  int next = 0;             ///< the largest logit's
  double time_us = 0;       ///< wall
  DeviceCounters counters;  ///< calls during that time
};

/// A step whose logits are not all finite: no token follows from it. The message names position, fed token,
/// and the first such logit with its value.
class NotFinite : public Error {
 public:
  NotFinite(int at_position, int fed, int logit, float value);
  int position;
  int token;  ///< fed
};

/// Told after each step, outside its time. Returning false ends the decoding.
using OnStep = std::function<bool(const DecodeStep&)>;

/// Throws Error if the prompt is empty, or if it and `n_tokens` more do not fit into `n_positions`.
void check_room(std::span<const int> prompt, int n_tokens, int n_positions);

/// Feeds the prompt token by token, each step by `way`, then what the model chooses, greedily, from position 0
/// on, until `n_tokens` were generated, is_end is true of one (it is still the last step's `next`), or on_step
/// says so. Throws Error as check_room() does, and NotFinite, at any step, instead of telling of it.
/// By Way::ring `stream` is free for copies in on_step: the next step waits for its end.
void decode_greedy(Device& device, Stream& stream, Llama& model, std::span<const int> prompt, int n_tokens,
                   Way way, const std::function<bool(int)>& is_end, const OnStep& on_step);

/// What decoding by `way` launched, which has been done: in each step, by Way::ring once.
std::vector<Launch> launches_of(const Llama& model, Way way);

}  // namespace m40llm
