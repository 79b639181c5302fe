#include "engine/model/resident_form.hpp"

#include <array>

#include "engine/ops/attention_decode.hpp"
#include "engine/ops/gemv.hpp"

namespace m40llm {
namespace {

/// The row in shared memory.
bool fits(const Matrix& a) {
  return padded_x_bytes(a) + kPersistentOwnBytes <= static_cast<unsigned>(kGm200.shared_bytes_per_block);
}

}  // namespace

std::optional<ResidentForm> resident_form(std::string_view, const EmbeddingParams& p) {
  ResidentForm form{.reads = {p.token}, .writes = {p.y}};
  form.op = {ResidentKind::embedding, p.table.format, 0, {.embedding = p}};
  return form;
}

std::optional<ResidentForm> resident_form(std::string_view variant, const RmsNormParams& p) {
  if (variant != "block") return std::nullopt;
  ResidentForm form{.reads = {p.x}, .writes = {p.y}};
  form.op = {ResidentKind::rms_norm, {}, 0, {.rms_norm = p}};
  return form;
}

std::optional<ResidentForm> resident_form(std::string_view, const QkvParams& p) {
  const Matrix& some = p.q.rows > 0 ? p.q : p.k.rows > 0 ? p.k : p.v;
  if (!fits(some)) return std::nullopt;
  ResidentForm form{.shared_bytes = padded_x_bytes(some), .reads = {p.x, p.sequence, p.position}};
  if (p.q.rows > 0) form.writes.push_back(p.y);
  if (p.k.rows > 0) form.writes.push_back(p.cache.k);
  if (p.v.rows > 0) form.writes.push_back(p.cache.v);
  form.op = {ResidentKind::qkv, some.format, 0, {.qkv = p}};
  return form;
}

std::optional<ResidentForm> resident_form(std::string_view variant, const AttentionDecodeParams& p) {
  constexpr std::array kByHeads{ResidentKind::attention_split_1, ResidentKind::attention_split_2,
                                ResidentKind::attention_split_3, ResidentKind::attention_split_4};
  if (variant != "split") return std::nullopt;
  const auto heads = static_cast<unsigned>(heads_a_unit(p));
  ResidentForm form{.shared_bytes = heads * kPersistentAttentionBytes,
                    .reads = {p.q, p.cache.k, p.cache.v, p.sequence, p.position},
                    .writes = {p.y, p.chunks.outputs}};
  form.op = {kByHeads.at(heads - 1), {}, 0, {.attention_decode = p}};
  return form;
}

std::optional<ResidentForm> resident_form(std::string_view, const GemvParams& p) {
  if (!fits(p.a)) return std::nullopt;
  ResidentForm form{.shared_bytes = padded_x_bytes(p.a), .reads = {p.x}, .writes = {p.y}};
  form.op = {ResidentKind::gemv, p.a.format, 0, {.gemv = p}};
  return form;
}

std::optional<ResidentForm> resident_form(std::string_view, const GemvAddParams& p) {
  const bool shared = fits(p.a);  // both ways have the same bits
  ResidentForm form{.shared_bytes = shared ? padded_x_bytes(p.a) : 0, .reads = {p.x, p.y}, .writes = {p.y}};
  form.op = {
      shared ? ResidentKind::gemv_add_shared : ResidentKind::gemv_add_global, p.a.format, 0, {.gemv_add = p}};
  return form;
}

std::optional<ResidentForm> resident_form(std::string_view, const GateUpParams& p) {
  if (!fits(p.gate)) return std::nullopt;
  ResidentForm form{.shared_bytes = padded_x_bytes(p.gate), .reads = {p.x}, .writes = {p.y}};
  form.op = {ResidentKind::gate_up, p.gate.format, 0, {.gate_up = p}};
  return form;
}

std::optional<ResidentForm> resident_form(std::string_view, const NormGemvParams& p) {
  if (!fits(p.a)) return std::nullopt;
  ResidentForm form{.shared_bytes = padded_x_bytes(p.a), .reads = {p.x}, .writes = {p.y}};
  form.op = {ResidentKind::norm_gemv, p.a.format, 0, {.norm_gemv = p}};
  return form;
}

std::optional<ResidentForm> resident_form(std::string_view, const SwigluParams& p) {
  ResidentForm form{.reads = {p.gate, p.up}, .writes = {p.y}};
  form.op = {ResidentKind::swiglu, {}, 0, {.swiglu = p}};
  return form;
}

std::optional<ResidentForm> resident_form(std::string_view, const ArgmaxParams& p) {
  ResidentForm form{.shared_bytes = kPersistentArgmaxBytes, .reads = {p.x}, .writes = {p.index}};
  form.op = {ResidentKind::argmax_parts, {}, 0, {.argmax = p}};
  return form;
}

std::optional<ResidentForm> resident_form(std::string_view, const AdvanceParams& p) {
  ResidentForm form{.reads = {p.token, p.position, p.chosen, p.prompt, p.prompt_length},
                    .writes = {p.token, p.position},
                    .first_block = true};
  form.op = {ResidentKind::advance, {}, 0, {.advance = p}};
  return form;
}

}  // namespace m40llm
