#include "engine/decode/greedy.hpp"

#include <chrono>

#include "engine/decode/find_not_finite.hpp"
#include "engine/error.hpp"

namespace m40llm {
namespace {

DeviceCounters difference(const DeviceCounters& after, const DeviceCounters& before) {
  return {after.launches - before.launches, after.kernels - before.kernels,
          after.allocations - before.allocations, after.copies - before.copies,
          after.synchronizations - before.synchronizations};
}

NotFinite not_finite(Stream& stream, const Llama& model, int position, int token, int logit) {
  float value = 0;
  stream.copy_to_host(&value, model.logits().data() + logit, sizeof value);
  stream.synchronize();
  return {position, token, logit, value};
}

}  // namespace

NotFinite::NotFinite(int at_position, int fed, int logit, float value)
    : Error("position " + std::to_string(at_position) + " (fed token " + std::to_string(fed) +
            "): the logit of token " + std::to_string(logit) + " is " + name_of_not_finite(value) +
            "; a finite number was expected, and no token follows"),
      position(at_position),
      token(fed) {}

void check_room(std::span<const int> prompt, int n_tokens, int n_positions) {
  if (prompt.empty()) throw Error("the prompt is empty: at least one token is needed");
  const auto room = static_cast<std::size_t>(n_positions);
  if (prompt.size() > room || static_cast<std::size_t>(n_tokens) > room - prompt.size()) {
    throw Error("a prompt of " + std::to_string(prompt.size()) + " tokens and " + std::to_string(n_tokens) +
                " to generate do not fit the context of " + std::to_string(room));
  }
}

void decode_greedy(Device& device, Stream& stream, Llama& model, std::span<const int> prompt, int n_tokens,
                   Way way, const std::function<bool(int)>& is_end, const OnStep& on_step) {
  check_room(prompt, n_tokens, model.n_positions());
  const PinnedBuffer<int> next(device, 1);
  model.start(stream, prompt, way);
  int token = prompt.front();
  const int n_steps = static_cast<int>(prompt.size()) + n_tokens - 1;
  for (int position = 0; position < n_steps; ++position) {
    DecodeStep step;
    step.token = token;
    const DeviceCounters before = device.counters();
    const auto start = std::chrono::steady_clock::now();
    model.step(stream);
    stream.copy_to_host(next.span().data(), model.next_token().data(), sizeof(int));
    stream.synchronize();
    step.time_us =
        std::chrono::duration<double, std::micro>(std::chrono::steady_clock::now() - start).count();
    step.counters = difference(device.counters(), before);
    step.next = next[0];
    if (step.next < 0) throw not_finite(stream, model, position, token, ~step.next);
    if (!on_step(step)) return;
    const auto fed = static_cast<std::size_t>(position) + 1;
    const bool in_prompt = fed < prompt.size();
    if (!in_prompt && is_end(step.next)) return;
    token = in_prompt ? prompt[fed] : step.next;
  }
}

}  // namespace m40llm
