#include "engine/decode/greedy.hpp"

#include <algorithm>
#include <chrono>
#include <memory>
#include <optional>

#include "engine/decode/find_not_finite.hpp"
#include "engine/decode/ring.hpp"
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

/// The steps of a sequence, one after the other.
class Steps {
 public:
  virtual ~Steps() = default;
  /// Returns with step.next set.
  virtual void take(DecodeStep& step) = 0;
};

class SteppedByHost final : public Steps {
 public:
  SteppedByHost(Device& device, Stream& stream, Llama& model, std::span<const int> prompt, Way way)
      : stream_(stream), model_(model), next_(device, 1) {
    model.start(stream, prompt, way);
  }
  void take(DecodeStep& step) override {
    model_.step(stream_);
    stream_.copy_to_host(next_.span().data(), model_.next_token().data(), sizeof(int));
    stream_.synchronize();
    model_.check_steps();
    step.next = next_[0];
  }

 private:
  Stream& stream_;
  Llama& model_;
  const PinnedBuffer<int> next_;
};

/// With room for one result no step begins before the host asks for it, and so not before on_step has seen the logits of
/// the one before.
class SteppedByRing final : public Steps {
 public:
  SteppedByRing(Device& device, const Llama& model, std::span<const int> prompt, int n_tokens)
      : ring_(device, model, {.n_jobs = 1, .n_results = 1}) {
    ring_.submit(prompt, n_tokens);
  }
  void take(DecodeStep& step) override {
    std::optional<RingResult> result;
    while (!result) result = ring_.wait(std::chrono::minutes(1));
    step.next = result->token;
  }

 private:
  Ring ring_;
};

std::unique_ptr<Steps> steps_by(Way way, Device& device, Stream& stream, Llama& model,
                                std::span<const int> prompt, int n_tokens) {
  if (way != Way::ring) return std::make_unique<SteppedByHost>(device, stream, model, prompt, way);
  stream.synchronize();
  return std::make_unique<SteppedByRing>(device, model, prompt, std::max(n_tokens, 1));
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
  const int n_steps = static_cast<int>(prompt.size()) + n_tokens - 1;
  const std::unique_ptr<Steps> steps = steps_by(way, device, stream, model, prompt, n_tokens);
  int token = prompt.front();
  for (int position = 0; position < n_steps; ++position) {
    DecodeStep step;
    step.token = token;
    const DeviceCounters before = device.counters();
    const auto start = std::chrono::steady_clock::now();
    steps->take(step);
    step.time_us =
        std::chrono::duration<double, std::micro>(std::chrono::steady_clock::now() - start).count();
    step.counters = difference(device.counters(), before);
    if (step.next < 0) throw not_finite(stream, model, position, token, ~step.next);
    if (!on_step(step)) return;
    const auto fed = static_cast<std::size_t>(position) + 1;
    const bool in_prompt = fed < prompt.size();
    if (!in_prompt && is_end(step.next)) return;
    token = in_prompt ? prompt[fed] : step.next;
  }
}

std::vector<Launch> launches_of(const Llama& model, Way way) {
  return way == Way::ring ? std::vector{Ring::kernel()} : model.step_launches(way);
}

}  // namespace m40llm
