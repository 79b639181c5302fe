#pragma once
#include "engine/device/memory.hpp"
#include "engine/gguf/file.hpp"
#include "engine/model/hparams.hpp"

namespace m40llm {

/// What a Llama of this file holds on its device of n_sms SMs, and on the host while it is loaded.
struct ModelMemory {
  MemoryNeed on_device;  ///< under the owners that Device::holdings names
  MemoryNeed on_host;
};
ModelMemory memory_of(const gguf::File& file, const Hparams& h, int n_positions, int n_sms);

/// Throws OutOfMemory, with the figures by owner and the largest context that would fit, unless there is room.
void require_memory(const Device& device, const gguf::File& file, const Hparams& h, int n_positions);

}  // namespace m40llm
