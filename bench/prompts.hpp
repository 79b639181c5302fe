#pragma once
#include <cstddef>
#include <string>
#include <vector>

#include "bench/command_line.hpp"
#include "engine/tokenizer/tokenizer.hpp"

/// Texts that a user gives to be fed to a model, and what becomes of them: tokens, or a message.
namespace m40llm::bench {

/// A text in UTF-8 and what messages call it: "prompt 'The capital...'", "prompt file 'x.txt'", "stdin".
struct Prompt {
  std::string name;
  std::string text;
};

/// A text given as such; it is not looked at yet.
Prompt prompt_of(const std::string& text);

/// Of a prompt, in bytes: more tokens than any context has.
inline constexpr std::size_t kLongestPrompt = std::size_t{16} << 20;

/// --prompt, --prompt-file and --special of a program.
class PromptFlags {
 public:
  explicit PromptFlags(CommandLine& line);
  PromptFlags(const PromptFlags&) = delete;
  PromptFlags& operator=(const PromptFlags&) = delete;

  /// In the order of the command line; files and stdin are read here. Throws Error naming the file, and what is
  /// wrong with it: it cannot be read, is a folder or no regular file, too long, not UTF-8 (at which byte);
  /// UsageError if stdin is asked for twice.
  std::vector<Prompt> read() const;
  const std::vector<std::string>& files() const { return files_; }
  SpecialTokens special() const { return special_ ? SpecialTokens::parsed : SpecialTokens::as_text; }

 private:
  const CommandLine& line_;
  std::vector<std::string> texts_, files_;
  bool special_ = false;
};

/// The prompt's tokens, never none. Throws Error naming the prompt if it is empty, or if no byte of it has a
/// token. Bytes that have none among others that do are left out: said on stderr.
std::vector<int> tokens_of(const Tokenizer& tokenizer, const Prompt& prompt, SpecialTokens special);

}  // namespace m40llm::bench
