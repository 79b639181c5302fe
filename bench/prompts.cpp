#include "bench/prompts.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdio>

#include "bench/descriptor.hpp"
#include "bench/options.hpp"
#include "engine/error.hpp"
#include "engine/printable.hpp"
#include "engine/tokenizer/utf8.hpp"

namespace m40llm::bench {
namespace {

constexpr const char* kText = "--prompt";
constexpr const char* kFile = "--prompt-file";
constexpr const char* kStdin = "-";

/// All that an open file holds, or what came before Ctrl-C. Throws Error naming it.
std::string read_all(int file, const std::string& name) {
  std::string text;
  std::array<char, 65536> chunk;
  while (true) {
    const ssize_t n = ::read(file, chunk.data(), chunk.size());
    if (n < 0 && errno == EINTR) {
      if (interrupted()) return text;
      continue;
    }
    if (n < 0) throw Error(name + " cannot be read: " + system_message(errno));
    if (n == 0) return text;
    text.append(chunk.data(), static_cast<std::size_t>(n));
    if (text.size() > kLongestPrompt) {
      throw Error(name + " is longer than " + std::to_string(kLongestPrompt) +
                  " bytes, the most that a prompt may have");
    }
  }
}

Prompt read_stdin() { return {"stdin", read_all(STDIN_FILENO, "stdin")}; }

Prompt read_file(const std::string& path) {
  const std::string name = "prompt file " + in_quotes(path);
  // Not blocking: a FIFO that nobody writes to is refused, not waited for.
  const Descriptor file(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  struct stat status {};
  if (file.get() < 0 || ::fstat(file.get(), &status) != 0)
    throw Error(name + " cannot be opened: " + system_message(errno));
  if (S_ISDIR(status.st_mode)) throw Error(name + " is a folder; a file with text in UTF-8 is expected");
  if (!S_ISREG(status.st_mode)) {
    throw Error(name + " is not a regular file; for what comes through a pipe, --prompt-file - reads stdin");
  }
  return {name, read_all(file.get(), name)};
}

void check_utf8(const Prompt& prompt) {
  for (std::size_t at = 0; at < prompt.text.size();) {
    const std::size_t length = utf8::sequence_length(std::string_view(prompt.text).substr(at));
    if (length == 0)
      throw Error(prompt.name + " is not UTF-8 at its byte " + std::to_string(at) +
                  ": expected text in UTF-8");
    at += length;
  }
}

}  // namespace

Prompt prompt_of(const std::string& text) { return {"prompt " + in_quotes(text), text}; }

PromptFlags::PromptFlags(CommandLine& line) : line_(line) {
  line.texts(kText, texts_, "a text; repeatable", "TEXT");
  line.texts(kFile, files_,
             "a file with a text, every byte of it, a last newline too; - reads stdin; repeatable", "FILE");
  line.flag("--special", special_, "control tokens written out in a text (<|im_start|>) are their tokens");
}

std::vector<Prompt> PromptFlags::read() const {
  if (std::ranges::count(files_, kStdin) > 1)
    throw UsageError("--prompt-file -: stdin can be read once, and is asked for again");
  std::vector<Prompt> prompts;
  auto text = texts_.begin();
  auto file = files_.begin();
  for (const std::string& flag : line_.given()) {
    if (flag == kText) prompts.push_back(prompt_of(*text++));
    if (flag != kFile) continue;
    prompts.push_back(*file == kStdin ? read_stdin() : read_file(*file));
    ++file;
  }
  if (!interrupted()) std::ranges::for_each(prompts, check_utf8);
  return prompts;
}

std::vector<int> tokens_of(const Tokenizer& tokenizer, const Prompt& prompt, SpecialTokens special) {
  std::vector<int> tokens = tokenizer.encode(prompt.text, special);
  if (prompt.text.empty()) {
    if (tokens.empty())
      throw Error(prompt.name +
                  " is empty: expected a text, as this model has no token of its own to begin with");
    return tokens;
  }
  std::size_t encoded = 0;
  for (std::size_t i = tokenizer.add_bos() ? 1 : 0; i < tokens.size(); ++i)
    encoded += tokenizer.piece(tokens[i]).size();
  if (encoded >= prompt.text.size()) return tokens;
  std::string without_token;
  std::array<bool, 256> seen{};
  for (const char byte : prompt.text) {
    bool& known = seen[static_cast<unsigned char>(byte)];
    if (known) continue;
    known = true;
    if (tokenizer.encode(std::string(1, byte)).size() == (tokenizer.add_bos() ? 1U : 0U))
      without_token += byte;
  }
  const std::string which = std::to_string(prompt.text.size() - encoded) + " of its " +
                            std::to_string(prompt.text.size()) +
                            " bytes have no token in the model's vocabulary, " + in_quotes(without_token);
  if (encoded == 0) throw Error(prompt.name + ": " + which + "; expected a text of others");
  std::fprintf(stderr, "note: %s: %s, and are left out\n", prompt.name.c_str(), which.c_str());
  return tokens;
}

}  // namespace m40llm::bench
