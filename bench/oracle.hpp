#pragma once
#include <filesystem>
#include <span>
#include <string>
#include <vector>

namespace m40llm::bench {

/// What an independent implementation gave for the same weights (see tests/data/README.md and
/// scripts/oracle.py): per prompt its tokens and, per step, its largest logits.
struct OracleStep {
  std::vector<int> ids;       ///< of the largest logits, falling
  std::vector<float> logits;  ///< (ids)
  double log_sum_exp = 0;     ///< over the whole vocabulary
};
struct OraclePrompt {
  std::string text;
  std::vector<int> prompt_tokens;
  std::vector<int> tokens;        ///< generated, greedily
  std::vector<OracleStep> steps;  ///< one for each token fed: prompt_tokens, then tokens
};
/// Throws Error naming the file, and the place in it that is not as described: a token that is no int from 0,
/// a logit that no float holds, logits that rise, a number of steps that is not that of tokens. The model's
/// vocabulary is not known here.
std::vector<OraclePrompt> read_oracle(const std::filesystem::path& path);

/// The largest |difference of logits| that an engine with K and V in binary16 may show on the oracle's top
/// 64, and of the log-sum-exp of all, fixed beforehand: honest float32 engines show 0.006 to 0.013 on SmolLM2, since a K that lies between two
/// binary16 goes to one here and to the other there, and what follows from it in all later layers differs. A wrong
/// rope pairing shows 26, one dropped position 15, a reciprocal root by bit tricks 0.15.
inline constexpr double kOracleLimit = 0.025;
/// The same where nothing was rounded to binary16 differently: float32 and float64 with K and V as they are, and any
/// engine at a prompt's first position, where only V was stored and nothing read back from far. Honest ones show
/// 0.0002; eps outside the root, which the limit above does not see, 0.001.
inline constexpr double kExactOracleLimit = 0.0005;
/// At least this part of all steps must have a top-2 margin over twice the limit.
inline constexpr double kOracleDecidable = 0.9;

/// Steps of one implementation against the oracle's, all fed the oracle's tokens.
struct OracleComparison {
  std::size_t steps = 0;
  std::size_t decidable_steps = 0;  ///< the oracle's two largest logits differ by more than twice the limit
  std::size_t same_argmax = 0;      ///< of those
  double largest_difference = 0;
  double first_difference = 0;  ///< the largest of the first step

  /// `logits` (n_vocab) of the step; steps come in the prompt's order from its first on. One that is not finite, wherever it stands, differs infinitely.
  void add(const OracleStep& step, std::span<const float> logits, double limit);
  /// Of no steps nothing passed.
  bool passed(double limit) const {
    return steps != 0 && largest_difference <= limit && first_difference <= kExactOracleLimit &&
           same_argmax == decidable_steps;
  }
};

}  // namespace m40llm::bench
