#pragma once
#include <memory>
#include <string>

struct pcre2_real_code_8;

namespace m40llm::bench {

/// A Perl-compatible regular expression that a flag was given. PCRE2's, since std::regex takes seconds to compile in
/// every file, and a stack as deep as the text.
class Pattern {
 public:
  /// Throws UsageError naming the flag, the text, and what is wrong with it where.
  Pattern(const std::string& text, const std::string& flag);

  /// All of the line, or a part. Throws Error where that takes too many steps to find out.
  bool matches(const std::string& line) const;
  bool is_in(const std::string& line) const;

 private:
  struct Free {
    void operator()(pcre2_real_code_8* code) const;
  };
  bool match(const std::string& line, unsigned options) const;

  std::string text_, flag_;
  std::unique_ptr<pcre2_real_code_8, Free> code_;
};

}  // namespace m40llm::bench
