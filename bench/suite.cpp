#include "bench/suite.hpp"

#include <algorithm>
#include <charconv>
#include <set>

#include "kernels/formats.h"

namespace m40llm::bench {
namespace {

/// The text up to the separator; the separator and it are taken off `rest`. All of it if there is no
/// separator.
std::string_view take(std::string_view& rest, char separator) {
  const std::size_t end = rest.find(separator);
  const std::string_view part = rest.substr(0, end);
  rest = end == std::string_view::npos ? std::string_view() : rest.substr(end + 1);
  return part;
}

template <class Number>
Number read_number(std::string_view text, std::string_view what, std::string_view line) {
  Number number{};
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc() || end != text.data() + text.size()) {
    throw UsageError("case '" + std::string(line) + "': " + std::string(what) + " '" + std::string(text) +
                     "' is not a number in range");
  }
  return number;
}

}  // namespace

std::string to_string(const Shape& shape) {
  std::string text;
  for (const auto& [name, value] : shape)
    text += (text.empty() ? "" : ",") + name + "=" + std::to_string(value);
  return text;
}

int at(const Shape& shape, std::string_view name) {
  for (const auto& [key, value] : shape) {
    if (key == name) return value;
  }
  throw UsageError("shape '" + to_string(shape) + "' has no " + std::string(name));
}

std::string Case::line() const {
  return op + "/" + variant + " " + to_string(shape) + " " + inputs + " seed=" + std::to_string(seed);
}

Case Case::parse(std::string_view line) {
  const auto fail = [line](const std::string& what) -> UsageError {
    return UsageError("case '" + std::string(line) + "': " + what +
                      "; expected is a line like 'gemv_f16/shared rows=576,cols=1536 R seed=1'");
  };
  std::string_view rest = line;
  std::string_view kernel = take(rest, ' ');
  std::string_view sizes = take(rest, ' ');
  const std::string_view inputs = take(rest, ' ');
  std::string_view seed = take(rest, ' ');
  if (!rest.empty()) throw fail("'" + std::string(rest) + "' behind the seed");

  Case c;
  c.op = take(kernel, '/');
  c.variant = kernel;
  if (c.op.empty() || c.variant.empty()) throw fail("no op and variant with a / between them");
  while (!sizes.empty()) {
    std::string_view value = take(sizes, ',');
    const std::string_view name = take(value, '=');
    if (name.empty()) throw fail("a size without a name");
    for (const auto& known : c.shape) {
      if (known.first == name) throw fail("'" + std::string(name) + "' twice");
    }
    c.shape.emplace_back(name, read_number<int>(value, name, line));
  }
  if (c.shape.empty()) throw fail("no shape");
  if (inputs.empty()) throw fail("no class of inputs");
  c.inputs = inputs;
  if (take(seed, '=') != "seed") throw fail("no seed=");
  c.seed = read_number<std::uint64_t>(seed, "seed", line);
  return c;
}

std::span<const std::unique_ptr<Suite>> suites() {
  static const SuiteList all = [] {
    SuiteList suites;
    for (const RegisterSuites* some = RegisterSuites::last_; some != nullptr; some = some->before_)
      some->add_(suites);
    std::ranges::sort(suites, {}, [](const auto& suite) { return suite->op(); });
    for (std::size_t i = 1; i < suites.size(); ++i) {
      if (suites[i - 1]->op() == suites[i]->op())
        throw std::logic_error("two suites of the op '" + suites[i]->op() + "' are registered");
    }
    return suites;
  }();
  return all;
}

namespace {

/// "gemv_FORMAT" of "gemv_q4_1", so that a message has an op once and not for each format.
std::string without_format(const std::string& op) {
  for (const FormatTraits& format : kFormats) {
    const std::string end = std::string("_") + format.name;
    if (op.ends_with(end)) return op.substr(0, op.size() - end.size()) + "_FORMAT";
  }
  return op;
}

}  // namespace

const Suite& suite(std::string_view op) {
  std::set<std::string> known;
  for (const auto& suite : suites()) {
    if (suite->op() == op) return *suite;
    known.insert(without_format(suite->op()));
  }
  std::string message = "there is no op '" + std::string(op) + "'; there are ";
  for (const std::string& each : known) message += each + ", ";
  message += "where FORMAT is one of";
  for (const FormatTraits& format : kFormats) message += std::string(" ") + format.name;
  throw UsageError(message + " (of ..._int8_FORMAT one of those with integers)");
}

}  // namespace m40llm::bench
