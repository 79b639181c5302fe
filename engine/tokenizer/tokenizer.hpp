#pragma once
#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "engine/gguf/file.hpp"
#include "engine/tokenizer/pre_tokenizer.hpp"

namespace m40llm {

/// What a control token's name written out in a text ("<|im_end|>") becomes.
enum class SpecialTokens {
  as_text,  ///< text like any other: what strangers wrote cannot end a turn
  parsed,   ///< its token: the text is a prompt in the model's chat format
};

/// Byte-level byte-pair encoding (tokenizer.ggml.model "gpt2") with the tables of a GGUF file.
///
/// Text is split by the pre-tokenizer; the bytes of a piece are written as printable characters (GPT-2's
/// table, see byte_character()) and neighbours are merged in the order of the file's list of merges. Any
/// sequence of bytes can be encoded: bytes that are not UTF-8 are encoded as bytes. A byte for which the
/// vocabulary has no token is left out; vocabularies with all 256 of them (not every model's has) give
/// decode(encode(text)) == text for every text.
///
/// Holds no reference to the file. Safe to use from several threads.
class Tokenizer {
 public:
  /// Throws Error naming file, key, value and what is supported if the file has no tokenizer, one of another
  /// kind or with another pre-tokenizer, or tables that contradict each other.
  [[nodiscard]] static Tokenizer from(const gguf::File& file);

  /// Token ids of text, led by bos() if add_bos(). Tokens that the file marks as user-defined are always
  /// recognised, control tokens as `special` says. O(n log n) for n bytes.
  [[nodiscard]] std::vector<std::int32_t> encode(std::string_view text,
                                                 SpecialTokens special = SpecialTokens::as_text) const;

  /// The bytes that the tokens stand for, control and unknown tokens left out. A token may end in the middle
  /// of a UTF-8 sequence. Throws Error naming an id that is not in the vocabulary.
  [[nodiscard]] std::string decode(std::span<const std::int32_t> tokens) const;

  /// The bytes of one token; of a control token, its name. Throws Error like decode().
  [[nodiscard]] std::string piece(std::int32_t token) const;

  [[nodiscard]] std::optional<std::int32_t> bos() const { return bos_; }
  [[nodiscard]] std::optional<std::int32_t> eos() const { return eos_; }
  /// As tokenizer.ggml.add_bos_token says, or where it is missing, as the pre-tokenizer's models expect.
  [[nodiscard]] bool add_bos() const { return add_bos_; }
  /// Number of tokens; ids are 0 to size() - 1.
  [[nodiscard]] std::size_t size() const { return pieces_.size(); }
  /// Whether text ends with this token: the file's end of sequence, turn or message, and tokens that are known
  /// under their name for it ("<|endoftext|>"). The latter are control tokens, whatever type the file gives them.
  [[nodiscard]] bool is_end(std::int32_t token) const;

  /// The character that stands for a byte in tokens and merges (GPT-2's bytes_to_unicode, Radford et al.
  /// 2019): itself if it is a printable Latin-1 character, else U+0100 and on, in order.
  [[nodiscard]] static char32_t byte_character(std::uint8_t byte);

 private:
  /// What merges work on: a token's id, or an id from size() on for a string that is no token.
  using Symbol = std::int32_t;
  struct Merge {
    Symbol right;
    std::int32_t rank;
    Symbol result;
  };
  /// With a seed that a file's author cannot know, so that no choice of texts makes finding one slow.
  struct Hash {
    using is_transparent = void;
    std::uint64_t seed;
    std::size_t operator()(std::string_view text) const;
  };
  struct Fragment {
    std::string_view text;
    std::int32_t token = -1;  // of a special token; -1 is text still to be encoded
  };
  enum class Kind : std::uint8_t { text, control, user_defined };

  explicit Tokenizer(PreTokenizer pre_tokenizer);

  void read_vocabulary(const gguf::File& file);
  void read_merges(const gguf::File& file);
  void read_special_tokens(const gguf::File& file);
  [[nodiscard]] std::optional<std::int32_t> read_id(const gguf::File& file, std::string_view key) const;
  [[nodiscard]] Symbol symbol(std::string_view text);
  [[nodiscard]] const Merge* find_merge(Symbol left, Symbol right) const;
  void check(std::int32_t token) const;
  [[nodiscard]] std::vector<Fragment> cut_at_special_tokens(std::string_view text,
                                                            SpecialTokens special) const;
  void encode_piece(std::string_view piece, std::vector<std::int32_t>& tokens) const;
  void append_symbol(Symbol symbol, std::string_view bytes, std::vector<std::int32_t>& tokens) const;

  PreTokenizer pre_tokenizer_;
  std::vector<std::string> pieces_;  // by id: bytes of text tokens, names of the others
  std::vector<Kind> kinds_;
  std::unordered_map<std::string, Symbol, Hash, std::equal_to<>> symbols_;  // by the token's text in the file
  std::vector<Merge> merges_;                                               // by left symbol, then by right
  std::vector<std::uint32_t> merges_begin_;  // by left symbol: where its merges begin; one more at the end
  std::array<Symbol, 256> byte_symbols_{};
  std::vector<std::int32_t> special_tokens_;  // control and user-defined, longest name first
  std::vector<bool> ends_;
  std::size_t longest_token_ = 0;  // in bytes of pieces_
  std::optional<std::int32_t> bos_;
  std::optional<std::int32_t> eos_;
  bool add_bos_ = false;
};

}  // namespace m40llm
