#include "bench/pattern.hpp"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include <array>
#include <cstdint>
#include <new>

#include "engine/error.hpp"
#include "engine/printable.hpp"

namespace m40llm::bench {
namespace {

constexpr std::size_t kMostBytes = 2000;
/// PCRE2 backtracks: the likes of (.*)*(.*)*x would take exponential time. A second's worth.
constexpr std::uint32_t kMostSteps = 1'000'000;

struct FreeMatch {
  void operator()(pcre2_match_data* match) const { pcre2_match_data_free(match); }
  void operator()(pcre2_match_context* context) const { pcre2_match_context_free(context); }
};

std::string message(int error) {
  std::array<PCRE2_UCHAR, 256> text{};
  pcre2_get_error_message(error, text.data(), text.size());
  return reinterpret_cast<const char*>(text.data());
}

PCRE2_SPTR bytes(const std::string& text) { return reinterpret_cast<PCRE2_SPTR>(text.data()); }

}  // namespace

void Pattern::Free::operator()(pcre2_real_code_8* code) const { pcre2_code_free(code); }

Pattern::Pattern(const std::string& text, const std::string& flag) : text_(text), flag_(flag) {
  if (text.size() > kMostBytes) {
    throw UsageError(flag + " " + in_quotes(text) + " has " + std::to_string(text.size()) +
                     " bytes; expected a regular expression of at most " + std::to_string(kMostBytes));
  }
  int error = 0;
  PCRE2_SIZE at = 0;
  code_.reset(pcre2_compile(bytes(text), text.size(), 0, &error, &at, nullptr));
  if (!code_) {
    throw UsageError(flag + " " + in_quotes(text) + " is not a Perl-compatible regular expression: " +
                     message(error) + " (at byte " + std::to_string(at) + ")");
  }
}

bool Pattern::match(const std::string& line, unsigned options) const {
  const std::unique_ptr<pcre2_match_data, FreeMatch> found(pcre2_match_data_create(1, nullptr));
  const std::unique_ptr<pcre2_match_context, FreeMatch> context(pcre2_match_context_create(nullptr));
  if (!found || !context) throw std::bad_alloc();
  pcre2_set_match_limit(context.get(), kMostSteps);
  const int result =
      pcre2_match(code_.get(), bytes(line), line.size(), 0, options, found.get(), context.get());
  if (result >= 0) return true;
  if (result == PCRE2_ERROR_NOMATCH) return false;
  if (result == PCRE2_ERROR_NOMEMORY) throw std::bad_alloc();
  throw Error(flag_ + " " + in_quotes(text_) + " cannot be matched with '" + line + "': " + message(result) +
              (result == PCRE2_ERROR_MATCHLIMIT ? " of " + std::to_string(kMostSteps) + " steps" : ""));
}

bool Pattern::matches(const std::string& line) const {
  return match(line, PCRE2_ANCHORED | PCRE2_ENDANCHORED);
}

bool Pattern::is_in(const std::string& line) const { return match(line, 0); }

}  // namespace m40llm::bench
