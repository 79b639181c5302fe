#include <cstdio>

#include "bench/options.hpp"
#include "bench/prompts.hpp"
#include "engine/error.hpp"
#include "engine/gguf/file.hpp"
#include "engine/printable.hpp"

/// m40llm-tokenize: a text in, its tokens out. It needs no device, and of a model's file only the tokenizer.
namespace m40llm::bench {
namespace {

constexpr const char* kProgram = "m40llm-tokenize";

int run(const std::vector<std::string>& command) {
  std::string model;
  CommandLine line(
      "Prints the tokens of texts as a model's tokenizer cuts them: a line a token, its id, a tab, and its "
      "piece\n(\\xNN for bytes that cannot be shown, \\\\ for a backslash); an empty line between two texts.",
      kProgram);
  line.text("--model", model, "GGUF file; needed", "FILE");
  const PromptFlags prompt_flags(line);
  if (const auto code = line.parse(command)) return *code;
  if (model.empty()) throw UsageError("--model is needed: the name of a GGUF file");
  const std::vector<Prompt> prompts = prompt_flags.read();
  if (interrupted()) return kInterrupted;
  if (prompts.empty()) throw UsageError("--prompt or --prompt-file is needed");
  const Tokenizer tokenizer = Tokenizer::from(gguf::File::open(model));
  std::vector<std::vector<int>> texts;  // all are looked at before the first is printed
  for (const Prompt& prompt : prompts) texts.push_back(tokens_of(tokenizer, prompt, prompt_flags.special()));
  for (std::size_t i = 0; i < texts.size(); ++i) {
    if (i != 0) std::puts("");
    for (const int token : texts[i])
      std::printf("%d\t%s\n", token, printable(tokenizer.piece(token)).c_str());
  }
  return 0;
}

}  // namespace
}  // namespace m40llm::bench

int main(int argc, char** argv) {
  return m40llm::bench::run_program("m40llm-tokenize", argc, argv, m40llm::bench::run);
}
