#include "engine/decode/find_not_finite.hpp"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <vector>

namespace m40llm {
namespace {

constexpr std::uint16_t kHalfExponent = 0x7c00;  // all ones: not finite
constexpr std::uint16_t kHalfMagnitude = 0x7fff;

std::string name_of_half(std::uint16_t bits) {
  if ((bits & kHalfMagnitude) != kHalfExponent) return "nan";
  return std::string((bits & ~kHalfMagnitude) != 0 ? "-inf" : "inf") + " (FP16 ends at 65504)";
}

/// `layer`'s K or V at `cache`, up to `n_positions`.
std::optional<std::string> find_in(Stream& stream, const Llama& model, int layer, const char* which,
                                   const half* cache, int n_positions) {
  const int n_heads = model.hparams().n_kv_heads;
  const int head_dim = model.hparams().head_dim;
  const KvView view = model.kv_cache().view(layer);
  const auto at = [&](int position, int head, int i) {
    return static_cast<std::size_t>(position) * static_cast<std::size_t>(view.position_stride) +
           static_cast<std::size_t>(head) * static_cast<std::size_t>(view.head_stride) +
           static_cast<std::size_t>(i);
  };
  std::vector<half> values(at(n_positions - 1, n_heads - 1, head_dim - 1) + 1);
  stream.copy_to_host(values.data(), cache, values.size() * sizeof(half));
  stream.synchronize();
  for (int position = 0; position < n_positions; ++position) {
    for (int head = 0; head < n_heads; ++head) {
      for (int i = 0; i < head_dim; ++i) {
        const std::uint16_t bits = values[at(position, head, i)].bits;
        if ((bits & kHalfExponent) != kHalfExponent) continue;
        return "layer " + std::to_string(layer) + ": kv append: " + which + " of position " +
               std::to_string(position) + ", KV head " + std::to_string(head) + ", element " +
               std::to_string(i) + " is " + name_of_half(bits);
      }
    }
  }
  return std::nullopt;
}

std::optional<std::string> find_in_layer(Stream& stream, const Llama& model, int layer, int n_positions) {
  auto found = find_in(stream, model, layer, "K", model.kv_cache().view(layer).k, n_positions);
  if (!found) found = find_in(stream, model, layer, "V", model.kv_cache().view(layer).v, n_positions);
  return found;
}

std::optional<std::string> find_in(Stream& stream, const StepOutput& output) {
  std::vector<float> values(output.values.size());
  stream.copy_to_host(values.data(), output.values.data(), output.values.size_bytes());
  stream.synchronize();
  const auto found = std::ranges::find_if(values, [](float value) { return !std::isfinite(value); });
  if (found == values.end()) return std::nullopt;
  return (output.layer < 0 ? std::string() : "layer " + std::to_string(output.layer) + ": ") + output.op +
         ": element " + std::to_string(found - values.begin()) + " is " + name_of_not_finite(*found);
}

}  // namespace

std::string name_of_not_finite(float value) {
  if (std::isnan(value)) return "nan";
  return value > 0 ? "inf" : "-inf";
}

std::optional<std::string> find_not_finite(Stream& stream, Llama& model, int token, int position) {
  std::optional<std::string> found;
  model.forward(stream, token, position, {}, [&](const StepOutput& output) {
    if (found) return;
    found = output.values.empty() ? find_in_layer(stream, model, output.layer, position + 1)
                                  : find_in(stream, output);
  });
  stream.synchronize();
  return found;
}

std::optional<std::string> find_not_finite_in_cache(Stream& stream, const Llama& model, int n_positions) {
  std::optional<std::string> found;
  if (n_positions < 1) return found;
  for (int layer = 0; layer < model.hparams().n_layers && !found; ++layer)
    found = find_in_layer(stream, model, layer, n_positions);
  return found;
}

}  // namespace m40llm
