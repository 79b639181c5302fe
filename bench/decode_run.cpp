#include "bench/decode_run.hpp"

#include <algorithm>
#include <array>
#include <iostream>
#include <span>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "bench/latency.hpp"
#include "bench/options.hpp"
#include "bench/records.hpp"
#include "engine/decode/find_not_finite.hpp"
#include "engine/error.hpp"
#include "engine/model/hparams.hpp"
#include "engine/printable.hpp"

namespace m40llm::bench {
namespace {

/// Says on stderr which tokens end texts by their names alone: the file marks them as something else.
void note_overridden_types(const gguf::File& file, const Tokenizer& tokenizer) {
  constexpr std::int32_t kControl = 3;  // of tokenizer.ggml.token_type
  if (!file.has("tokenizer.ggml.token_type")) return;
  const std::vector<std::int32_t> types = file.i32s("tokenizer.ggml.token_type");
  for (std::size_t id = 0; id < types.size(); ++id) {
    const bool by_key =
        std::ranges::any_of(std::array{"tokenizer.ggml.eos_token_id", "tokenizer.ggml.eot_token_id",
                                       "tokenizer.ggml.eom_token_id"},
                            [&](const char* key) { return file.has(key) && file.u32(key) == id; });
    const auto token = static_cast<std::int32_t>(id);
    if (types[id] == kControl || by_key || !tokenizer.is_end(token)) continue;
    std::cerr << "note: token " << id << " " << in_quotes(tokenizer.piece(token))
              << " ends a text by its name; the file's type for it, " << types[id]
              << ", is overridden (control: " << kControl << ")\n";
  }
}

/// Throws Error unless the oracle is one of this prompt and this vocabulary: what it was made from must be what is
/// compared.
void check_tokens(const std::string& name, const OraclePrompt& oracle, const std::vector<int>& prompt,
                  int n_vocab) {
  const auto [ours, theirs] = std::ranges::mismatch(prompt, oracle.prompt_tokens);
  if (ours != prompt.end() || theirs != oracle.prompt_tokens.end()) {
    const auto token = [](const std::vector<int>& tokens, auto at) {
      return at == tokens.end() ? "ends" : "has token " + std::to_string(*at);
    };
    throw Error(name + ": at place " + std::to_string(ours - prompt.begin()) + " the oracle's prompt " +
                token(oracle.prompt_tokens, theirs) + " where this model's tokenizer " + token(prompt, ours) +
                "; expected an oracle of the same model");
  }
  const auto check = [&](const std::vector<int>& ids) {
    const auto outside = std::ranges::find_if(ids, [&](int id) { return id >= n_vocab; });
    if (outside != ids.end()) {
      throw Error(name + ": the oracle has token " + std::to_string(*outside) +
                  "; this model's vocabulary has 0 to " + std::to_string(n_vocab - 1));
    }
  };
  check(oracle.tokens);
  for (const OracleStep& step : oracle.steps) check(step.ids);
}

/// Of a step's logits; "none" behind the last step.
std::string hash_at(const Decoded& run, std::size_t step) {
  return step < run.logits_hashes.size() ? hex(run.logits_hashes[step]) : "none";
}

/// Of a generated token; "none" behind the last.
std::string token_at(const Decoded& run, std::size_t i) {
  return i < run.tokens.size() ? std::to_string(run.tokens[i]) : "none";
}

}  // namespace

std::string first_difference(const Decoded& first, const Decoded& second) {
  const auto equal_elements = [](const auto& a, const auto& b) {
    return static_cast<std::size_t>(std::ranges::mismatch(a, b).in1 - a.begin());
  };
  const std::vector<int>& prompt = first.prompt;
  const std::size_t chosen = equal_elements(first.tokens, second.tokens);
  const std::size_t chosen_at = prompt.size() - 1 + chosen;  // the step that chose otherwise
  const std::size_t step = equal_elements(first.logits_hashes, second.logits_hashes);
  const auto tell = [&](std::size_t position, const char* what, const std::string& of_first,
                        const std::string& of_second) {
    const int fed = position < prompt.size() ? prompt[position] : first.tokens[position - prompt.size()];
    return "position " + std::to_string(position) + " (fed token " + std::to_string(fed) + "): " + what +
           " by " + std::string(name_of(second.way)) + " is " + of_second + ", by " +
           std::string(name_of(first.way)) + " " + of_first + "; expected the same";
  };
  const std::string hashes[] = {hash_at(first, step), hash_at(second, step)};
  if (hashes[0] != hashes[1] && step <= chosen_at)
    return tell(step, "the hash of the logits", hashes[0], hashes[1]);
  const std::string tokens[] = {token_at(first, chosen), token_at(second, chosen)};
  if (tokens[0] != tokens[1]) return tell(chosen_at, "the token chosen", tokens[0], tokens[1]);
  return {};
}

Decoder::Decoder(Device& device, const DecodeOptions& options)
    : device_(device),
      options_(options),
      file_(open_model(options.model)),
      tokenizer_(Tokenizer::from(file_)),
      stream_(device.create_stream()),
      model_(device, *stream_, file_, n_positions(), options.activations) {
  if (static_cast<std::size_t>(model_.hparams().n_vocab) != tokenizer_.size()) {
    throw Error(options.model + ": the tokenizer has " + std::to_string(tokenizer_.size()) +
                " tokens, token_embd.weight " + std::to_string(model_.hparams().n_vocab) +
                " rows; expected the same");
  }
  note_overridden_types(file_, tokenizer_);
}

std::vector<int> Decoder::encode(const Prompt& prompt, const OraclePrompt* oracle) const {
  std::vector<int> tokens = tokens_of(tokenizer_, prompt, options_.special);
  if (oracle != nullptr) check_tokens(prompt.name, *oracle, tokens, model_.hparams().n_vocab);
  try {
    check_room(tokens, options_.n_tokens, model_.n_positions());
    if (oracle != nullptr) check_room(tokens, static_cast<int>(oracle->tokens.size()), model_.n_positions());
  } catch (const Error& error) {
    throw Error(prompt.name + ": " + error.what() + of_the_context());
  }
  return tokens;
}

Decoded Decoder::decode(const std::vector<int>& prompt, Way way, const OraclePrompt* oracle,
                        LogitsFile* logits_file) {
  Decoded result;
  result.way = way;
  result.prompt = prompt;
  std::vector<float> logits;
  bool follows_oracle = oracle != nullptr;
  OracleComparison comparison;
  std::size_t fed = 0;
  int first_choice = 0;
  const auto on_step = [&](const DecodeStep& step) {
    const bool in_prompt = fed < prompt.size();
    (in_prompt ? result.prompt_us : result.decode_us).push_back(step.time_us);
    if (fed == 0) first_choice = step.next;
    if (!in_prompt) {
      result.decode_counters.launches += step.counters.launches;
      result.decode_counters.kernels += step.counters.kernels;
      result.decode_counters.allocations += step.counters.allocations;
      result.decode_counters.copies += step.counters.copies;
      result.decode_counters.synchronizations += step.counters.synchronizations;
    }
    logits = model_.logits().download(*stream_);
    result.logits_hashes.push_back(XXH3_64bits(logits.data(), std::span(logits).size_bytes()));
    if (logits_file != nullptr) logits_file->append(logits);
    const bool judged = oracle != nullptr && fed < oracle->steps.size();  // it may have stopped before
    if (follows_oracle && judged && !in_prompt)
      follows_oracle = oracle->tokens[fed - prompt.size()] == step.token;
    if (follows_oracle && judged) comparison.add(oracle->steps[fed], logits, kOracleLimit);
    if (++fed >= prompt.size()) {
      result.tokens.push_back(step.next);
      std::cout << tokenizer_.decode(std::span(&step.next, 1)) << std::flush;
    }
    return !bench::interrupted();
  };
  const auto ends = [&](int token) {
    if (!tokenizer_.is_end(token)) return false;
    result.stopped = "end_of_sequence";
    return true;
  };
  try {
    decode_greedy(device_, *stream_, model_, prompt, options_.n_tokens, way, ends, on_step);
    const auto in_cache = find_not_finite_in_cache(*stream_, model_, static_cast<int>(fed));
    result.fault = in_cache.value_or("");
  } catch (const NotFinite& step) {
    result.stopped = "not_finite";
    result.fault = not_finite(step);
  }
  if (oracle != nullptr && result.fault.empty() && !bench::interrupted())
    result.oracle = follows_oracle ? last_step(comparison, *oracle, fed) : forced(*oracle);
  if (result.fault.empty() && !bench::interrupted() && options_.n_latencies > 0) {
    for (const FirstResult& job :
         first_results(device_, *stream_, model_, way, prompt.front(), options_.n_latencies)) {
      result.latency_us.push_back(job.latency_us);
      if (job.token != first_choice && result.fault.empty()) {
        result.fault = "job " + std::to_string(result.latency_us.size()) + " of --latency chose token " +
                       std::to_string(job.token) + "; expected " + std::to_string(first_choice) +
                       ", as the prompt's first step";
      }
    }
  }
  if (result.fault.empty() && bench::interrupted()) {
    result.stopped = "interrupted";
    result.oracle.reset();  // of a part
  }
  return result;
}

int Decoder::n_positions() const {
  const int all = read_hparams(file_).n_context;
  if (options_.n_context > all) {
    throw Error("--context " + std::to_string(options_.n_context) + ": the model's context has " +
                std::to_string(all));
  }
  return options_.n_context > 0 ? options_.n_context : std::min(all, kDefaultContext);
}

/// Where the room comes from, for a message that ends with its size.
std::string Decoder::of_the_context() const {
  const int own = model_.hparams().n_context;
  if (model_.n_positions() == own) return ", the model's own";
  return std::string(options_.n_context > 0 ? ", as --context says" : ", the default of --context") +
         "; the model's own is " + std::to_string(own);
}

std::string Decoder::not_finite(const NotFinite& step) {
  if (!options_.find_not_finite)
    return std::string(step.what()) + " (--find-not-finite names the first op that is not finite)";
  const auto found = find_not_finite(*stream_, model_, step.token, step.position);
  return std::string(step.what()) + "; first not finite: " +
         found.value_or("nothing, when the step is taken again: the device does not repeat itself");
}

/// The oracle also fed its last token, which decoding only chose.
OracleComparison Decoder::last_step(OracleComparison comparison, const OraclePrompt& oracle,
                                    std::size_t fed) {
  for (; fed < oracle.steps.size(); ++fed) {
    const std::size_t generated = fed - oracle.prompt_tokens.size();
    model_.forward(*stream_, oracle.tokens[generated], static_cast<int>(fed));
    comparison.add(oracle.steps[fed], model_.logits().download(*stream_), kOracleLimit);
  }
  return comparison;
}

/// Where decoding went another way than the oracle: its tokens fed again from the start.
OracleComparison Decoder::forced(const OraclePrompt& oracle) {
  OracleComparison comparison;
  std::vector<int> tokens = oracle.prompt_tokens;
  tokens.insert(tokens.end(), oracle.tokens.begin(), oracle.tokens.end());
  for (std::size_t i = 0; i < tokens.size() && !bench::interrupted(); ++i) {
    model_.forward(*stream_, tokens[i], static_cast<int>(i));
    comparison.add(oracle.steps[i], model_.logits().download(*stream_), kOracleLimit);
  }
  return comparison;
}

}  // namespace m40llm::bench
