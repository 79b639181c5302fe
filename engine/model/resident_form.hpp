#pragma once
#include <optional>
#include <string_view>
#include <vector>

#include "kernels/persistent_decode.h"

namespace m40llm {

/// An op as the persistent kernel takes it: its units, shared by the blocks of a resident grid.
struct ResidentForm {
  ResidentOp op{};
  unsigned shared_bytes = 0;             ///< dynamic shared memory a block
  std::vector<const void*> reads = {};   ///< first addresses of what it reads and others write,
  std::vector<const void*> writes = {};  ///< and of what it writes
  bool first_block = false;              ///< all of it is the first block's
};

/// The form of an op by its parameters, as it is launched; `variant` names the units that must be its own for the bits to
/// be. None where the persistent kernel has no such units. One overload for each op that a plan of fused ops has.
std::optional<ResidentForm> resident_form(std::string_view variant, const EmbeddingParams& p);
std::optional<ResidentForm> resident_form(std::string_view variant, const RmsNormParams& p);
std::optional<ResidentForm> resident_form(std::string_view variant, const QkvParams& p);
std::optional<ResidentForm> resident_form(std::string_view variant, const AttentionDecodeParams& p);
std::optional<ResidentForm> resident_form(std::string_view variant, const GemvParams& p);
std::optional<ResidentForm> resident_form(std::string_view variant, const GemvAddParams& p);
std::optional<ResidentForm> resident_form(std::string_view variant, const GateUpParams& p);
std::optional<ResidentForm> resident_form(std::string_view variant, const NormGemvParams& p);
std::optional<ResidentForm> resident_form(std::string_view variant, const SwigluParams& p);
/// In parts, whose number and memory are the launch's to set; argmax_join() comes behind.
std::optional<ResidentForm> resident_form(std::string_view variant, const ArgmaxParams& p);
std::optional<ResidentForm> resident_form(std::string_view variant, const AdvanceParams& p);
/// Any other op: such a plan has it only where a row does not fit shared memory.
template <class Params>
std::optional<ResidentForm> resident_form(std::string_view, const Params&) {
  return std::nullopt;
}

}  // namespace m40llm
