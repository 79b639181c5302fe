#include "bench/roofline.hpp"

#include "engine/ops/shapes.hpp"

namespace m40llm::bench {

double issued_by_warps(const KernelResources& kernel, const ProductRounds& rounds) {
  return rounds.pieces * kernel.loop_instructions +
         rounds.units * (kernel.outer_instructions - kernel.loop_instructions);
}

double loop_instructions_a_weight(const KernelResources& kernel, const ProductRounds& rounds) {
  return rounds.lane_weights == 0 ? 0 : static_cast<double>(kernel.loop_instructions) / rounds.lane_weights;
}

double instructions_a_weight(const KernelResources& kernel, const ProductRounds& rounds) {
  return rounds.weights == 0 ? 0 : issued_by_warps(kernel, rounds) * kWarpSize / rounds.weights;
}

Roofline roofline(const ChipLimits& chip, const ChipSpeed& speed, double bytes, double warp_instructions) {
  const double issues_per_s = chip.n_sms * speed.issues_a_clock * speed.clock_hz;
  return {1e6 * bytes / speed.bandwidth_bytes_per_s, 1e6 * warp_instructions / issues_per_s};
}

}  // namespace m40llm::bench
