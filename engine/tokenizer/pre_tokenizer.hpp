#pragma once
#include <memory>
#include <string>
#include <string_view>
#include <vector>

// PCRE2's compiled pattern; its header stays out of ours.
struct pcre2_real_code_8;

namespace m40llm {

/// Cuts text into the pieces that byte-pair merges may not cross. A pre-tokenizer is a list of patterns, each
/// applied to the pieces left by the one before: every match is a piece, and so is what lies between two
/// matches. Nothing is dropped: the pieces put together are the text.
class PreTokenizer {
 public:
  /// `name` is the value of tokenizer.ggml.pre, one of supported(). Throws Error naming any other and listing
  /// those.
  [[nodiscard]] static PreTokenizer named(std::string_view name);

  /// "a.x-4.0, codeshell, ..., trillion"
  [[nodiscard]] static std::string supported();

  /// Views into text, in order, none empty. Bytes that are not UTF-8 belong to no Unicode class: patterns see
  /// the text as ending before them, and each run of them is a piece of its own. Linear in the text's length.
  /// Safe to call from several threads.
  [[nodiscard]] std::vector<std::string_view> split(std::string_view text) const;

  /// A piece that is a token as a whole is taken as that token, whatever the merges would give.
  [[nodiscard]] bool ignores_merges() const { return ignores_merges_; }

  /// Whether a beginning-of-sequence token is put first when the file does not say.
  [[nodiscard]] bool adds_bos() const { return adds_bos_; }

 private:
  struct FreeCode {
    void operator()(pcre2_real_code_8* code) const;
  };
  using Code = std::unique_ptr<pcre2_real_code_8, FreeCode>;

  PreTokenizer() = default;
  [[nodiscard]] static Code compile(const std::string& pattern);

  std::vector<Code> patterns_;
  bool ignores_merges_ = false;
  bool adds_bos_ = false;
};

}  // namespace m40llm
