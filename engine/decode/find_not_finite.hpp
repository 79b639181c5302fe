#pragma once
#include <optional>
#include <string>

#include "engine/device/device.hpp"
#include "engine/model/llama.hpp"

/// Where what a model computed first stopped being a finite number. For looking at, not for speed: everything
/// is copied to the host.
namespace m40llm {

/// "nan", "inf" or "-inf" (a NaN's sign means nothing), for messages.
std::string name_of_not_finite(float value);

/// Takes the step at `position`, the last one taken, again, op by op, and names the first op and element that
/// is not finite: "layer 3: gate: element 17 is nan". K and V are looked at for all positions up to this one.
/// Nothing if all is finite.
std::optional<std::string> find_not_finite(Stream& stream, Llama& model, int token, int position);

/// The first of the first n_positions of K and V that is not finite in its binary16: "layer 0: kv append: K of
/// position 2, KV head 1, element 5 is inf (FP16 ends at 65504)". Nothing if all are. Such a K need not reach
/// the logits: a score of minus infinity only hides its position.
std::optional<std::string> find_not_finite_in_cache(Stream& stream, const Llama& model, int n_positions);

}  // namespace m40llm
