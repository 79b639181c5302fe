#include "kernels/image/ptx.hpp"

#include <algorithm>
#include <functional>
#include <optional>
#include <set>
#include <sstream>
#include <stdexcept>
#include <string_view>

namespace m40llm::image {
namespace {

using Names = std::set<std::string, std::less<>>;

/// The word before the first of `ends`: "table" of ".const .align 4 .b8 table[16] = {...};".
std::string word_before(std::string_view line, std::string_view ends) {
  std::string_view head = line.substr(0, line.find_first_of(ends));
  head = head.substr(0, head.find_last_not_of(' ') + 1);
  return std::string(head.substr(head.find_last_of(" \t") + 1));
}

/// Whether one of the names is a word of the line: "mov.u64 %rd5, table;".
bool has_one_of(std::string_view line, const Names& names) {
  constexpr std::string_view kBetweenWords = " \t,;+-()[]{}";
  for (std::size_t begin = 0; (begin = line.find_first_not_of(kBetweenWords, begin)) != line.npos;) {
    const std::size_t end = std::min(line.find_first_of(kBetweenWords, begin), line.size());
    if (names.contains(line.substr(begin, end - begin))) return true;
    begin = end;
  }
  return false;
}

bool is_variable(std::string_view line) {
  const std::string_view head = line.substr(0, line.find_first_of("[=;"));
  return line.starts_with('.') && (head.find(".global ") != head.npos || head.find(".const ") != head.npos);
}

}  // namespace

std::map<std::string, std::string> read_ptx(const std::string& text) {
  std::string declarations;
  Names variables;
  std::map<std::string, std::string> kernels;
  Names readers;
  // The kernel whose lines are read, up to the next one; "" in a function: whichever kernel calls it.
  std::optional<std::string> inside;
  std::istringstream lines(text);
  for (std::string line; std::getline(lines, line);) {
    if (is_variable(line)) {
      if (!line.ends_with(';')) throw std::runtime_error("a line of PTX that is not understood: " + line);
      declarations += line + "\n";
      variables.insert(word_before(line, "[=;"));
    } else if (line.starts_with('.') && line.find(".entry ") != line.npos) {
      inside = word_before(line, "(");
      kernels.emplace(*inside, "");
    } else if (line.starts_with('.') && line.find(".func ") != line.npos) {
      inside = "";
    } else if (inside && has_one_of(line, variables)) {
      readers.insert(*inside);
    }
  }
  for (auto& [name, data] : kernels) {
    if (readers.contains(name) || readers.contains("")) data = declarations;
  }
  return kernels;
}

}  // namespace m40llm::image
