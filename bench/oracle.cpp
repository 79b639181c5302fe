#include "bench/oracle.hpp"

#include <algorithm>
#include <cmath>
#include <fstream>
#include <limits>

#include <nlohmann/json.hpp>

#include "engine/error.hpp"

namespace m40llm::bench {

std::vector<OraclePrompt> read_oracle(const std::filesystem::path& path) {
  std::error_code unknown;
  std::ifstream file(path);
  if (!file || std::filesystem::is_directory(path, unknown))
    throw Error(path.string() + ": cannot be read; expected the oracle's JSON");
  try {
    const nlohmann::json json = nlohmann::json::parse(file);
    std::vector<OraclePrompt> prompts;
    for (const nlohmann::json& prompt : json.at("prompts")) {
      OraclePrompt& p = prompts.emplace_back();
      p.text = prompt.at("text").get<std::string>();
      p.prompt_tokens = prompt.at("prompt_tokens").get<std::vector<int>>();
      p.tokens = prompt.at("tokens").get<std::vector<int>>();
      for (const nlohmann::json& step : prompt.at("steps")) {
        p.steps.push_back({step.at("ids").get<std::vector<int>>(),
                           step.at("logits").get<std::vector<float>>(),
                           step.at("log_sum_exp").get<double>()});
        const OracleStep& s = p.steps.back();
        if (s.ids.size() < 2 || s.ids.size() != s.logits.size())
          throw Error(path.string() + ": a step with less than two logits");
      }
      if (p.prompt_tokens.empty() || p.steps.size() != p.prompt_tokens.size() + p.tokens.size()) {
        throw Error(path.string() + ": '" + p.text + "' has " + std::to_string(p.steps.size()) +
                    " steps; expected one a token");
      }
    }
    return prompts;
  } catch (const nlohmann::json::exception& error) {
    throw Error(path.string() + ": not the oracle's JSON: " + error.what());
  }
}

void OracleComparison::add(const OracleStep& step, std::span<const float> logits, double limit) {
  ++steps;
  for (std::size_t i = 0; i < step.ids.size(); ++i) {
    const auto id = static_cast<std::size_t>(step.ids[i]);
    const double difference =
        id < logits.size() ? std::abs(static_cast<double>(logits[id]) - static_cast<double>(step.logits[i]))
                           : std::numeric_limits<double>::infinity();
    // A NaN must not pass as small.
    largest_difference = difference <= largest_difference ? largest_difference
                         : std::isnan(difference)         ? std::numeric_limits<double>::infinity()
                                                          : difference;
  }
  // Beyond the oracle's largest too: what is not finite there would be chosen, or hide what is.
  if (!std::ranges::all_of(logits, [](float logit) { return std::isfinite(logit); }))
    largest_difference = std::numeric_limits<double>::infinity();
  if (static_cast<double>(step.logits[0]) - static_cast<double>(step.logits[1]) <= 2 * limit) return;
  ++decidable_steps;
  const auto best = std::max_element(logits.begin(), logits.end()) - logits.begin();
  if (best == step.ids[0]) ++same_argmax;
}

}  // namespace m40llm::bench
