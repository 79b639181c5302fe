#include "bench/oracle.hpp"

#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>
#include <set>
#include <utility>

#include <nlohmann/json.hpp>

#include "bench/json_file.hpp"
#include "engine/error.hpp"

namespace m40llm::bench {

namespace {

constexpr std::size_t kMostBytes = std::size_t{64} << 20;

/// A value of the file and where it stands, "prompts[0].steps[3].ids": whatever is asked of it that it is not
/// becomes an Error naming file and place.
class Node {
 public:
  Node(const nlohmann::json& value, std::string place, const std::string& file)
      : value_(value), place_(std::move(place)), file_(file) {}

  Node at(const char* key) const {
    const auto found = value_.find(key);
    if (!value_.is_object() || found == value_.end()) refuse(std::string("has no \"") + key + '"');
    return {*found, place_ + (place_.empty() ? "" : ".") + key, file_};
  }
  std::vector<Node> items() const {
    if (!value_.is_array()) refuse("is not a list");
    std::vector<Node> nodes;
    for (std::size_t i = 0; i < value_.size(); ++i)
      nodes.emplace_back(value_[i], place_ + "[" + std::to_string(i) + "]", file_);
    return nodes;
  }
  std::string text() const {
    if (!value_.is_string()) refuse("is not a string");
    return value_.get<std::string>();
  }
  int token() const {
    const bool fits =
        value_.is_number_unsigned() && value_.get<std::uint64_t>() <= std::numeric_limits<int>::max();
    if (!fits) refuse("is " + shown() + "; expected a token, an integer from 0 to 2147483647");
    return value_.get<int>();
  }
  /// A finite number that a float holds.
  double number() const {
    if (!value_.is_number() || !(std::abs(value_.get<double>()) <= std::numeric_limits<float>::max()))
      refuse("is " + shown() + "; expected a number that a float holds");
    return value_.get<double>();
  }
  std::vector<int> tokens() const {
    std::vector<int> all;
    for (const Node& node : items()) all.push_back(node.token());
    return all;
  }
  [[noreturn]] void refuse(const std::string& why) const {
    throw Error("oracle '" + file_ + "': " + (place_.empty() ? "the document" : place_) + " " + why);
  }

 private:
  std::string shown() const { return excerpt(value_.dump(-1, ' ', true)); }

  const nlohmann::json& value_;
  std::string place_;
  const std::string& file_;
};

OracleStep read_step(const Node& node) {
  OracleStep step;
  step.ids = node.at("ids").tokens();
  for (const Node& logit : node.at("logits").items())
    step.logits.push_back(static_cast<float>(logit.number()));
  step.log_sum_exp = node.at("log_sum_exp").number();
  if (step.ids.size() < 2 || step.ids.size() != step.logits.size()) {
    node.refuse("has " + std::to_string(step.ids.size()) + " ids and " + std::to_string(step.logits.size()) +
                " logits; expected as many, two or more");
  }
  if (!std::ranges::is_sorted(step.logits, std::greater<>())) node.at("logits").refuse("do not fall");
  return step;
}

OraclePrompt read_prompt(const Node& node) {
  OraclePrompt prompt;
  prompt.text = node.at("text").text();
  prompt.prompt_tokens = node.at("prompt_tokens").tokens();
  prompt.tokens = node.at("tokens").tokens();
  for (const Node& step : node.at("steps").items()) prompt.steps.push_back(read_step(step));
  if (prompt.prompt_tokens.empty()) node.at("prompt_tokens").refuse("are none");
  if (prompt.steps.size() != prompt.prompt_tokens.size() + prompt.tokens.size()) {
    node.refuse("has " + std::to_string(prompt.steps.size()) + " steps for " +
                std::to_string(prompt.prompt_tokens.size()) + " and " + std::to_string(prompt.tokens.size()) +
                " tokens; expected one a token");
  }
  return prompt;
}

}  // namespace

std::vector<OraclePrompt> read_oracle(const std::filesystem::path& path) {
  const std::string file = path.string();
  const nlohmann::json json = parse_json(read_file(path, kMostBytes), "oracle '" + file + "'");
  std::vector<OraclePrompt> prompts;
  std::set<std::string> texts;
  for (const Node& prompt : Node(json, "", file).at("prompts").items()) {
    OraclePrompt read = read_prompt(prompt);
    if (!texts.insert(read.text).second)  // of two, one would go unused
      prompt.at("text").refuse("is that of an earlier prompt too");
    prompts.push_back(std::move(read));
  }
  return prompts;
}

void OracleComparison::add(const OracleStep& step, std::span<const float> logits, double limit) {
  double of_step = 0;
  for (std::size_t i = 0; i < step.ids.size(); ++i) {
    const auto id = static_cast<std::size_t>(step.ids[i]);
    if (id >= logits.size()) {
      of_step = std::numeric_limits<double>::infinity();
      break;
    }
    of_step =
        std::max(of_step, std::abs(static_cast<double>(logits[id]) - static_cast<double>(step.logits[i])));
  }
  // Beyond the oracle's largest too: what is not finite there would be chosen, or hide what is.
  if (!std::ranges::all_of(logits, [](float logit) { return std::isfinite(logit); }))
    of_step = std::numeric_limits<double>::infinity();
  const double largest = logits.empty() ? 0 : *std::ranges::max_element(logits);
  double sum = 0;
  for (const float logit : logits) sum += std::exp(static_cast<double>(logit) - largest);
  of_step = std::max(of_step, std::abs(largest + std::log(sum) - step.log_sum_exp));
  if (steps++ == 0) first_difference = of_step;
  largest_difference = std::max(largest_difference, of_step);
  if (static_cast<double>(step.logits[0]) - static_cast<double>(step.logits[1]) <= 2 * limit) return;
  ++decidable_steps;
  const auto best = std::max_element(logits.begin(), logits.end()) - logits.begin();
  if (best == step.ids[0]) ++same_argmax;
}

}  // namespace m40llm::bench
