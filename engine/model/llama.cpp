#include "engine/model/llama.hpp"

#include <stdexcept>

#include "engine/error.hpp"
#include "engine/model/memory.hpp"
#include "engine/model/rope_table.hpp"

namespace m40llm {
namespace {

RopeTable rope_table(const gguf::File& file, const Hparams& h) {
  const std::vector<float> factors = rope_factors(file, h);
  try {
    return RopeTable(h.n_rotated, static_cast<double>(h.rope_base), factors);
  } catch (const Error& error) {
    file.fail((factors.empty() ? std::string() : "rope_freqs.weight: ") + error.what());
  }
}

Buffer<float2> rope_rows(Device& device, Stream& stream, const gguf::File& file, const Hparams& h,
                         int n_positions) {
  const std::vector<float2> rows = rope_table(file, h).rows(n_positions);
  Buffer<float2> buffer(device, rows.size(), "rope_table");
  buffer.upload(stream, rows);
  stream.synchronize();
  return buffer;
}

/// Checked before anything is allocated.
Hparams fitting_hparams(const Device& device, const gguf::File& file, int n_positions) {
  const Hparams h = read_hparams(file);
  if (n_positions < 1 || n_positions > h.n_context) {
    throw Error(std::to_string(n_positions) + " positions; the model's context has 1 to " +
                std::to_string(h.n_context));
  }
  require_memory(device, file, h, n_positions);
  (void)rope_table(file, h);
  return h;
}

}  // namespace

Llama::Llama(Device& device, Stream& stream, const gguf::File& file, int n_positions, Activations activations)
    : device_(device),
      hparams_(fitting_hparams(device, file, n_positions)),
      weights_(device, stream, file, hparams_),
      rope_table_(rope_rows(device, stream, file, hparams_, n_positions)),
      kv_cache_(device, hparams_, n_positions),
      workspace_(device, stream, hparams_, n_positions, step_memory(hparams_, n_positions, device.n_sms())),
      plan_(plan_step(device, hparams_, weights_, kv_cache_, workspace_, rope_table_.data(), StepOps::fused,
                      activations)),
      separate_plan_(plan_step(device, hparams_, weights_, kv_cache_, workspace_, rope_table_.data(),
                               StepOps::separate, activations)) {
  stream.synchronize();
}

void Llama::check_token(int token) const {
  if (token < 0 || token >= hparams_.n_vocab) {
    throw Error("token " + std::to_string(token) + "; the vocabulary has 0 to " +
                std::to_string(hparams_.n_vocab - 1));
  }
}

void Llama::check_position(int position) const {
  if (position < 0 || position >= n_positions()) {
    throw Error("position " + std::to_string(position) + "; the sequence has room for 0 to " +
                std::to_string(n_positions() - 1));
  }
}

void Llama::start(Stream& stream, std::span<const int> prompt, Way way) {
  if (way == Way::ring) throw std::logic_error("the host takes no steps of a ring");
  if (prompt.empty()) throw Error("the prompt is empty: at least one token is needed");
  if (prompt.size() > static_cast<std::size_t>(n_positions())) {
    throw Error("a prompt of " + std::to_string(prompt.size()) + " tokens; the sequence has room for " +
                std::to_string(n_positions()));
  }
  for (const int token : prompt) check_token(token);
  if (way == Way::graph && graph_ == nullptr) graph_ = device_.create_graph(launches(plan_));
  if (way == Way::persistent) {
    if (persistent_ == nullptr)
      persistent_ =
          std::make_unique<PersistentStep>(device_, stream, plan_, kPersistentBlocksPerSm * device_.n_sms());
    persistent_->reset(stream);
  }
  way_ = way;
  workspace_.feed(stream, prompt);
  position_ = 0;
}

void Llama::step(Stream& stream) {
  check_position(position_);
  switch (way_) {
    case Way::separate:
    case Way::launches:
      run(stream, plan(way_));
      break;
    case Way::graph:
      stream.launch(*graph_);
      break;
    case Way::persistent:
      stream.launch(persistent_->launch());
      break;
    case Way::ring:
      break;  // no sequence is started by it
  }
  ++position_;
}

void Llama::check_steps() const {
  if (persistent_ != nullptr) persistent_->check();
}

std::vector<Launch> Llama::step_launches(Way way) const {
  switch (way) {
    case Way::separate:
      return launches(separate_plan_);
    case Way::launches:
    case Way::graph:
      return launches(plan_);
    case Way::persistent:
      return {persistent_->launch()};
    case Way::ring:
      break;
  }
  return {};
}

void Llama::forward(Stream& stream, int token, int position, std::span<float> hidden,
                    const OnOutput& on_output) {
  check_token(token);
  check_position(position);
  workspace_.feed(stream, token, position);
  position_ = position;
  const auto width = static_cast<std::size_t>(hparams_.width);
  const Buffer<float>& state = workspace_[Activation::hidden];
  std::size_t kept = 0;
  run(stream, separate_plan_, [&](const PlannedOp& op) {
    if (op.writes == Writes::sequence) return;
    // The hidden state is written by the embedding, and twice a layer: behind attention, and at its end.
    if (op.values.data() == state.data() && !hidden.empty()) {
      if (kept % 2 == 0)
        stream.copy_to_host(hidden.data() + kept / 2 * width, state.data(), width * sizeof(float));
      ++kept;
    }
    if (on_output) on_output({op.layer, op.label.c_str(), op.values});
  });
  ++position_;
}

}  // namespace m40llm
