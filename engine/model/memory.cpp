#include "engine/model/memory.hpp"

#include <algorithm>

#include "engine/error.hpp"
#include "engine/kv_cache/kv_cache.hpp"
#include "engine/model/step_plan.hpp"
#include "engine/model/weights.hpp"
#include "engine/model/workspace.hpp"

namespace m40llm {

ModelMemory memory_of(const gguf::File& file, const Hparams& h, int n_positions, int n_sms) {
  ModelMemory memory;
  std::uint64_t largest_part = 0;  // of a matrix, as it is read; as much again repacked
  for (const WeightBytes& weight : weights_of(file, h)) {
    memory.on_device.add("weights", weight.on_device);
    if (!weight.named.row->is_vector())
      largest_part = std::max(largest_part, std::min<std::uint64_t>(weight.on_device, kReadOfMatrix));
  }
  const std::uint64_t rope_table =
      static_cast<std::uint64_t>(n_positions) * static_cast<std::uint64_t>(h.n_rotated / 2) * sizeof(float2);
  memory.on_device.add("rope_table", rope_table);
  memory.on_device.add("kv_cache", KvCache::bytes(h, n_positions));
  memory.on_device.add("activations", Workspace::bytes(h, n_positions));
  const StepMemory step = step_memory(h, n_positions, n_sms);
  memory.on_device.add("scratch", step.scratch + step.state);
  memory.on_host.add("loading", std::max(2 * largest_part, rope_table));
  return memory;
}

void require_memory(const Device& device, const gguf::File& file, const Hparams& h, int n_positions) {
  const auto missing = [&](int positions) {
    const ModelMemory memory = memory_of(file, h, positions, device.n_sms());
    return missing_memory(device, memory.on_device, memory.on_host);
  };
  const std::string why = missing(n_positions);
  if (why.empty()) return;
  int fits = 0;  // of what is needed, more positions need more
  for (int step = 1 << 22; step > 0; step /= 2) {
    if (fits + step < n_positions && missing(fits + step).empty()) fits += step;
  }
  throw OutOfMemory(file.path().string() + ": not enough memory for a context of " +
                    std::to_string(n_positions) + ": " + why +
                    (fits > 0 ? "; a context of " + std::to_string(fits) + " would fit" : ""));
}

}  // namespace m40llm
