/// Files that are almost a model, through all that reads them before a device is asked for anything: the loader,
/// the model's sizes and the tokenizer. Each either loads or is refused by an Error that names it in printable
/// text, and takes memory in proportion to its own size. The same inputs every time; M40LLM_FUZZ_INPUTS asks for
/// more of them, M40LLM_FUZZ_SEED for others.

#include <gtest/gtest.h>

#include <algorithm>
#include <random>

#include "engine/error.hpp"
#include "engine/model/hparams.hpp"
#include "engine/printable.hpp"
#include "engine/tokenizer/tokenizer.hpp"
#include "engine/tokenizer/utf8.hpp"
#include "tests/fuzz/allocations.hpp"
#include "tests/fuzz/gguf_layout.hpp"
#include "tests/fuzz/memory_file.hpp"
#include "tests/model/model_file.hpp"

namespace m40llm::testing {
namespace {

// What a file of n bytes may take: the densest entries (14 bytes of metadata, 8 of a token) grow the most.
constexpr std::size_t kMemoryPerByte = 24;
constexpr std::size_t kMemory = 1 << 20;

/// A whole model of one layer with a tokenizer.
std::string whole_model(bool with_types) {
  ModelFile model({.n_layers = 1,
                   .n_context = 16,
                   .width = 32,
                   .n_ffn = 32,
                   .n_heads = 2,
                   .n_kv_heads = 1,
                   .n_rotated = 8,
                   .n_vocab = 280});
  std::vector<std::string> tokens, merges;
  for (unsigned b = 0; b < 256; ++b) {
    tokens.emplace_back();
    utf8::append(tokens.back(), Tokenizer::byte_character(static_cast<std::uint8_t>(b)));
  }
  for (char c = 'a'; c < 'w'; ++c) {
    const std::string left(1, c), right(1, static_cast<char>(c + 1));
    tokens.push_back(left + right);
    merges.push_back(left + " " + right);
  }
  tokens.insert(tokens.end(), {"<|im_end|>", "<s>"});
  std::vector<std::int32_t> types(tokens.size(), 1);
  types[278] = types[279] = 3;
  model.metadata["general.alignment"] = 32u;
  model.metadata["general.type"] = "model";
  model.metadata["split.count"] = 1u;
  model.metadata["tokenizer.ggml.model"] = "gpt2";
  model.metadata["tokenizer.ggml.pre"] = with_types ? "llama-bpe" : "smollm";
  model.metadata["tokenizer.ggml.tokens"] = tokens;
  model.metadata["tokenizer.ggml.merges"] = merges;
  model.metadata["tokenizer.ggml.bos_token_id"] = 279u;
  model.metadata["tokenizer.ggml.eos_token_id"] = 278u;
  if (with_types) model.metadata["tokenizer.ggml.token_type"] = types;
  return model.bytes();
}

class Mutator {
 public:
  Mutator(std::string file, std::uint64_t seed) : file_(std::move(file)), layout_(file_), random_(seed) {}

  std::string next() {
    std::string bytes = file_;
    for (std::size_t n = 1 + below(2) * below(3); n > 0; --n) mutate(bytes);
    return bytes;
  }

 private:
  std::size_t below(std::size_t n) { return static_cast<std::size_t>(random_() % n); }

  void mutate(std::string& bytes) {
    if (bytes.empty()) return;
    switch (below(10)) {
      default:  // what half of all mutations are: a number that says how to read the rest
        set(bytes, layout_.fields[below(layout_.fields.size())], number());
        break;
      case 5: {  // the number of another place
        const Field& from = layout_.fields[below(layout_.fields.size())];
        std::uint64_t value = 0;
        std::memcpy(&value, file_.data() + from.offset, from.bytes);
        set(bytes, layout_.fields[below(layout_.fields.size())], value);
        break;
      }
      case 6:
        bytes[below(std::min(bytes.size(), layout_.entries.back()))] = static_cast<char>(random_());
        break;
      case 7: {  // an entry twice, or not at all
        const std::size_t i = below(layout_.entries.size() - 1);
        const std::size_t begin = layout_.entries[i], size = layout_.entries[i + 1] - begin;
        if (begin + size > bytes.size()) break;
        if (below(2) == 0) {
          bytes.insert(begin, bytes.substr(begin, size));
        } else {
          bytes.erase(begin, size);
        }
        break;
      }
      case 8:
        bytes.resize(below(bytes.size() + 1));
        break;
      case 9: {  // control characters and what is not UTF-8, within a text as well as elsewhere
        const std::string evil = "\x1b[31m\x9b\xc2\x9b\xff\x07";
        const std::size_t at = below(std::min(bytes.size(), layout_.entries.back()));
        bytes.replace(at, std::min(evil.size(), bytes.size() - at), evil);
        break;
      }
    }
  }

  /// Small, at the edge of a type, close to the file's size, or any.
  std::uint64_t number() {
    const std::uint64_t near = below(5);
    switch (below(5)) {
      case 0:
        return near;
      case 1:
        return (std::uint64_t{1} << below(64)) + near - 2;
      case 2:
        return ~std::uint64_t{0} - near;
      case 3:
        return file_.size() + near - 2;
      default:
        return random_() >> below(64);
    }
  }

  static void set(std::string& bytes, const Field& field, std::uint64_t value) {
    if (field.offset + field.bytes <= bytes.size())
      std::memcpy(bytes.data() + field.offset, &value, field.bytes);
  }

  const std::string file_;
  const GgufLayout layout_;
  std::mt19937_64 random_;
};

/// Whether call does without an Error; the Error, if any, must be fit to be shown.
template <class Call>
bool accepted(const std::string& path, Call&& call) {
  try {
    call();
    return true;
  } catch (const Error& error) {
    const std::string message = error.what();
    EXPECT_EQ(message.find(path + ": "), 0u) << message;
    EXPECT_LT(message.size(), 800u) << message;
    // printable() may only change backslashes, which it has doubled already.
    std::string shown = printable(message), doubled;
    for (const char c : message) doubled.append(c == '\\' ? 2 : 1, c);
    EXPECT_EQ(shown, doubled);
    return false;
  }
}

/// Reads the file as far as it can be read, and counts how far that is.
struct Reached {
  std::size_t files = 0, models = 0, tokenizers = 0;

  void read(const std::string& path) {
    std::optional<gguf::File> file;
    if (!accepted(path, [&] { file = gguf::File::open(path); })) return;
    ++files;
    accepted(path, [&] {
      for (const gguf::Tensor& tensor : file->tensors()) ASSERT_EQ(file->read(tensor).size(), tensor.bytes);
    });
    models += accepted(path, [&] { (void)read_hparams(*file); });
    std::optional<Tokenizer> tokenizer;
    if (!accepted(path, [&] { tokenizer = Tokenizer::from(*file); })) return;
    ++tokenizers;
    const std::string text = "<s>abcab It's 12 \xff<|im_end|>";
    for (const auto special : {SpecialTokens::as_text, SpecialTokens::parsed}) {
      const auto tokens = tokenizer->encode(text, special);
      ASSERT_LE(tokens.size(), text.size() + 1);
      (void)tokenizer->decode(tokens);
      for (const std::int32_t token : tokens) (void)tokenizer->is_end(token);
    }
  }
};

void expect_bounded(std::size_t held, std::size_t file_bytes, const std::string& what) {
  ASSERT_LE(Allocations::peak(), held + kMemoryPerByte * file_bytes + kMemory)
      << what << " of " << file_bytes;
}

TEST(GgufFuzz, LoadsOrRefusesEveryFile) {
  const std::uint64_t inputs = fuzz::from_environment("M40LLM_FUZZ_INPUTS", 20000);
  const std::uint64_t seed = fuzz::from_environment("M40LLM_FUZZ_SEED", 1);
  const fuzz::MemoryFile file;
  Reached reached;
  for (const bool with_types : {false, true}) {
    const std::string whole = whole_model(with_types);
    file.write(whole);
    Reached unchanged;
    unchanged.read(file.path);
    ASSERT_EQ(unchanged.models + unchanged.tokenizers, 2u) << "what is changed must be a model before";
    Mutator mutator(whole, seed);
    for (std::uint64_t i = 0; i < inputs / 2; ++i) {
      const std::string bytes = mutator.next();
      file.write(bytes);
      const std::size_t held = Allocations::held();
      Allocations::reset_peak();
      reached.read(file.path);
      expect_bounded(held, bytes.size(), "input " + std::to_string(i));
      ASSERT_FALSE(HasFailure()) << "input " << i << " of seed " << seed
                                 << (with_types ? " with" : " without") << " types of tokens";
    }
  }
  std::printf("%llu inputs: %zu files, %zu models, %zu tokenizers\n", static_cast<unsigned long long>(inputs),
              reached.files, reached.models, reached.tokenizers);
  // All outcomes must be common, or the mutations show nothing.
  for (const std::size_t n : {reached.files, reached.models, reached.tokenizers}) {
    EXPECT_GT(n, inputs / 20);
    EXPECT_LT(n, inputs * 19 / 20);
  }
}

// Files that are made of nothing but what takes the most memory for its bytes.
TEST(GgufFuzz, TheDensestFilesTakeMemoryInProportion) {
  constexpr int kEntries = 100'000;
  std::vector<std::pair<std::string, GgufWriter>> dense(4);
  const auto key = [](int i) { return GgufWriter::raw(i).substr(0, 3); };
  dense[0].first = "metadata";
  dense[1].first = "tensors";
  for (int i = 0; i < kEntries; ++i) {
    dense[0].second.entry(key(i), 0, "\1");
    dense[1].second.tensor(key(i), {1}, 24, static_cast<std::uint64_t>(i) * 32);
  }
  dense[1].second.data.resize(std::size_t{32} * kEntries);
  const auto tokenizer = [](std::vector<std::string> tokens, const std::vector<std::string>& merges) {
    GgufWriter w;
    w.str("tokenizer.ggml.model", "gpt2").str("tokenizer.ggml.pre", "gpt-2");
    return w.strings("tokenizer.ggml.tokens", tokens).strings("tokenizer.ggml.merges", merges);
  };
  std::vector<std::string> tokens, merges;
  for (int i = 0; i < kEntries; ++i) {
    tokens.push_back(key(i));
    merges.push_back("\1" + key(3 * i) + " \2" + key(3 * i + 1));
  }
  dense[2] = {"tokens", tokenizer(tokens, {})};
  dense[3] = {"merges", tokenizer({"a"}, merges)};
  const fuzz::MemoryFile file;
  for (const auto& [what, writer] : dense) {
    const std::string bytes = writer.bytes();
    file.write(bytes);
    const std::size_t held = Allocations::held();
    Allocations::reset_peak();
    Reached reached;
    reached.read(file.path);
    EXPECT_EQ(reached.files, 1u) << what;
    std::printf("%s: %.1f bytes of memory a byte\n", what.c_str(),
                static_cast<double>(Allocations::peak() - held) / static_cast<double>(bytes.size()));
    expect_bounded(held, bytes.size(), what);
  }
}

}  // namespace
}  // namespace m40llm::testing
