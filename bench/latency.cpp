#include "bench/latency.hpp"

#include <chrono>
#include <functional>
#include <optional>
#include <span>

#include "bench/options.hpp"
#include "engine/decode/ring.hpp"
#include "engine/device/buffer.hpp"

namespace m40llm::bench {
namespace {

std::vector<FirstResult> results_of(int n, const std::function<FirstResult()>& job) {
  std::vector<FirstResult> results;
  if (!interrupted()) job();
  while (std::ssize(results) < n && !interrupted()) results.push_back(job());
  return results;
}

}  // namespace

std::vector<FirstResult> first_results(Device& device, Stream& stream, Llama& model, Way way, int token,
                                       int n) {
  const std::span prompt(&token, 1);
  if (way == Way::ring) {
    stream.synchronize();
    Ring ring(device, model);
    return results_of(n, [&] {
      ring.submit(prompt, 1);
      std::optional<RingResult> result;
      while (!result) result = ring.wait(std::chrono::minutes(1));
      return FirstResult{result->since_submit_us, result->token};
    });
  }
  const PinnedBuffer<int> chosen(device, 1);
  return results_of(n, [&] {
    const auto submitted = std::chrono::steady_clock::now();
    model.start(stream, prompt, way);
    model.step(stream);
    stream.copy_to_host(chosen.span().data(), model.next_token().data(), sizeof(int));
    stream.synchronize();
    const auto now = std::chrono::steady_clock::now();
    model.check_steps();
    return FirstResult{std::chrono::duration<double, std::micro>(now - submitted).count(), chosen[0]};
  });
}

}  // namespace m40llm::bench
