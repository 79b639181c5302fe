#pragma once
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "bench/logits_file.hpp"
#include "bench/oracle.hpp"
#include "bench/prompts.hpp"
#include "engine/decode/greedy.hpp"
#include "engine/device/device.hpp"
#include "engine/gguf/file.hpp"
#include "engine/model/llama.hpp"
#include "engine/tokenizer/tokenizer.hpp"

namespace m40llm::bench {

/// The context without --context, where the model's own is no shorter.
inline constexpr int kDefaultContext = 2048;

struct DecodeOptions {
  std::string model;
  int n_tokens = 64;                               ///< to generate at most
  int n_latencies = 0;                             ///< jobs of one step to time, behind each prompt
  int n_context = 0;                               ///< 0: the model's, at most kDefaultContext
  SpecialTokens special = SpecialTokens::as_text;  ///< in prompts
  Activations activations = Activations::float32;  ///< what products multiply quantized weights with
  bool find_not_finite = false;                    ///< take a step that is not finite again, op by op
};

/// One prompt, decoded.
struct Decoded {
  Way way = Way::graph;
  std::vector<int> prompt;
  std::vector<int> tokens;
  std::string stopped = "length";  ///< or end_of_sequence, interrupted, not_finite
  /// What is wrong with what was computed: that it is not finite, as far as it is seen (logits at every step, K and
  /// V at the end), or not the bits expected. Empty: nothing.
  std::string fault;
  std::vector<double> prompt_us, decode_us;
  std::vector<double> latency_us;  ///< of jobs of one step, from the prompt's first token
  DeviceCounters decode_counters;  ///< sums over the decode steps
  std::vector<std::uint64_t> logits_hashes;
  std::optional<OracleComparison> oracle;

  bool interrupted() const { return stopped == "interrupted"; }
  /// What was cut short has not passed.
  bool passed() const { return !interrupted() && fault.empty() && (!oracle || oracle->passed(kOracleLimit)); }
};

/// Where the second of two decodings of a prompt has other logits than the first, by their hashes, or chose another
/// token: "position 3 (fed token 5): ...". Empty: nowhere.
std::string first_difference(const Decoded& first, const Decoded& second);

/// A model with its tokenizer on a device, and prompts through it.
class Decoder {
 public:
  /// `options` must outlive the decoder. Throws Error on a file that is no such model.
  Decoder(Device& device, const DecodeOptions& options);

  const gguf::File& file() const { return file_; }
  const Llama& model() const { return model_; }
  const Tokenizer& tokenizer() const { return tokenizer_; }
  std::string text(const std::vector<int>& tokens) const { return tokenizer_.decode(tokens); }

  /// The prompt's tokens. Throws Error as tokens_of() does, or if they, the tokens to generate and the oracle's
  /// (unless null) do not fit the context.
  std::vector<int> encode(const Prompt& prompt, const OraclePrompt* oracle) const;

  /// Decodes by `way`, printing the text as it comes; each step's logits go into `logits_file`, unless null. Stops after
  /// Ctrl-C.
  Decoded decode(const std::vector<int>& prompt, Way way, const OraclePrompt* oracle,
                 LogitsFile* logits_file);

 private:
  int n_positions() const;
  std::string of_the_context() const;
  std::string not_finite(const NotFinite& step);
  OracleComparison last_step(OracleComparison comparison, const OraclePrompt& oracle, std::size_t fed);
  OracleComparison forced(const OraclePrompt& oracle);

  Device& device_;
  const DecodeOptions& options_;
  gguf::File file_;
  Tokenizer tokenizer_;
  std::unique_ptr<Stream> stream_;
  Llama model_;
};

}  // namespace m40llm::bench
