#include <cstdio>
#include <filesystem>
#include <iostream>
#include <numeric>
#include <optional>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "bench/evidence.hpp"
#include "bench/options.hpp"
#include "bench/oracle.hpp"
#include "bench/statistics.hpp"
#include "engine/decode/greedy.hpp"
#include "engine/device/image.hpp"
#include "engine/error.hpp"
#include "engine/tokenizer/tokenizer.hpp"
#include "engine/tokenizer/utf8.hpp"

/// m40llm-decode: a prompt in, the text the model continues it with out, and what every token took.
namespace m40llm::bench {
namespace {

constexpr const char* kProgram = "m40llm-decode";
constexpr std::size_t kPromptShown = 60;  // bytes, in messages

struct Options {
  CommonOptions common;
  std::string model;
  std::vector<std::string> prompts;
  int n_tokens = 64;
  int n_context = 0;
  std::string oracle;
  std::vector<std::string> against;
};

std::uint64_t hash_of(std::span<const std::byte> bytes) { return XXH3_64bits(bytes.data(), bytes.size()); }

/// One hash for all kernels of the device's arch, and one for all their sources.
Json all_images_json(const Device& device) {
  std::vector<std::uint64_t> hashes;
  for (const Image& image : images()) {
    if (image.arch == device.info().image) hashes.push_back(image.hash);
  }
  if (hashes.empty()) return {{"arch", device.info().image}, {"hash", nullptr}};
  return {{"arch", device.info().image}, {"hash", hex(hash_of(std::as_bytes(std::span(hashes))))}};
}

std::uint64_t all_sources_hash() {
  std::vector<std::uint64_t> hashes;
  for (const Image& image : images()) {
    if (image.arch == "sm_52") hashes.push_back(source_hash(image.source));
  }
  return hash_of(std::as_bytes(std::span(hashes)));
}

/// One prompt, decoded.
struct Result {
  std::vector<int> prompt;
  std::vector<int> tokens;
  std::string stopped = "length";
  std::vector<double> prompt_us, decode_us;
  DeviceCounters decode_counters;  // sums over the decode steps
  std::vector<std::uint64_t> logits_hashes;
  std::optional<OracleComparison> oracle;
};

class Decoder {
 public:
  Decoder(Device& device, const Options& options)
      : device_(device),
        options_(options),
        file_(gguf::File::open(options.model)),
        tokenizer_(Tokenizer::from(file_)),
        stream_(device.create_stream()),
        model_(device, *stream_, file_, n_positions()) {
    if (static_cast<std::size_t>(model_.hparams().n_vocab) != tokenizer_.size()) {
      throw Error(options.model + ": the tokenizer has " + std::to_string(tokenizer_.size()) +
                  " tokens, token_embd.weight " + std::to_string(model_.hparams().n_vocab) +
                  " rows; expected the same");
    }
  }

  const gguf::File& file() const { return file_; }
  /// Throws Error if the prompt is no text, or if it, the tokens to generate and the oracle's do not fit the
  /// context.
  std::vector<int> encode(const std::string& prompt, const OraclePrompt* oracle) const {
    const std::string which =
        "prompt '" + prompt.substr(0, kPromptShown) + (prompt.size() > kPromptShown ? "...': " : "': ");
    for (std::size_t at = 0; at < prompt.size();) {
      const std::size_t length = utf8::sequence_length(std::string_view(prompt).substr(at));
      if (length == 0)
        throw Error("a prompt is not UTF-8 at its byte " + std::to_string(at) + ": expected text in UTF-8");
      at += length;
    }
    std::vector<int> tokens = tokenizer_.encode(prompt);
    try {
      check_room(tokens, options_.n_tokens, model_.n_positions());
      if (oracle != nullptr)
        check_room(oracle->prompt_tokens, static_cast<int>(oracle->tokens.size()), model_.n_positions());
    } catch (const Error& error) {
      throw Error(which + error.what());
    }
    return tokens;
  }
  std::string text(const std::vector<int>& tokens) const { return tokenizer_.decode(tokens); }

  /// Decodes, printing the text as it comes.
  Result decode(const std::vector<int>& prompt, const OraclePrompt* oracle) {
    Result result;
    result.prompt = prompt;
    std::vector<float> logits;
    bool follows_oracle = oracle != nullptr && oracle->prompt_tokens == prompt;
    OracleComparison comparison;
    std::size_t fed = 0;
    const auto on_step = [&](const DecodeStep& step) {
      const bool in_prompt = fed < prompt.size();
      (in_prompt ? result.prompt_us : result.decode_us).push_back(step.time_us);
      if (!in_prompt) {
        result.decode_counters.launches += step.counters.launches;
        result.decode_counters.allocations += step.counters.allocations;
        result.decode_counters.copies += step.counters.copies;
        result.decode_counters.synchronizations += step.counters.synchronizations;
      }
      logits = model_.logits().download(*stream_);
      result.logits_hashes.push_back(hash_of(std::as_bytes(std::span(logits))));
      const bool judged = oracle != nullptr && fed < oracle->steps.size();  // it may have stopped before
      if (follows_oracle && judged && !in_prompt)
        follows_oracle = oracle->tokens[fed - prompt.size()] == step.token;
      if (follows_oracle && judged) comparison.add(oracle->steps[fed], logits, kOracleLimit);
      if (++fed >= prompt.size()) {
        result.tokens.push_back(step.next);
        std::cout << tokenizer_.decode(std::span(&step.next, 1)) << std::flush;
      }
      return !interrupted();
    };
    decode_greedy(
        device_, *stream_, model_, prompt, options_.n_tokens, [&](int token) { return ends(token, result); },
        on_step);
    if (interrupted()) result.stopped = "interrupted";
    if (oracle != nullptr && !interrupted())
      result.oracle = follows_oracle ? last_step(comparison, *oracle, fed) : forced(*oracle);
    return result;
  }

 private:
  int n_positions() const {
    const int all = read_hparams(file_).n_context;
    if (options_.n_context > all) {
      throw Error("--context " + std::to_string(options_.n_context) + ": the model's context has " +
                  std::to_string(all));
    }
    return options_.n_context > 0 ? options_.n_context : std::min(all, 2048);
  }

  bool ends(int token, Result& result) const {
    if (!tokenizer_.is_end(token)) return false;
    result.stopped = "end_of_sequence";
    return true;
  }

  /// The oracle also fed its last token, which decoding only chose.
  OracleComparison last_step(OracleComparison comparison, const OraclePrompt& oracle, std::size_t fed) {
    for (; fed < oracle.steps.size(); ++fed) {
      const std::size_t generated = fed - oracle.prompt_tokens.size();
      model_.forward(*stream_, oracle.tokens[generated], static_cast<int>(fed));
      comparison.add(oracle.steps[fed], model_.logits().download(*stream_), kOracleLimit);
    }
    return comparison;
  }

  /// Where decoding went another way than the oracle: its tokens fed again from the start.
  OracleComparison forced(const OraclePrompt& oracle) {
    OracleComparison comparison;
    std::vector<int> tokens = oracle.prompt_tokens;
    tokens.insert(tokens.end(), oracle.tokens.begin(), oracle.tokens.end());
    for (std::size_t i = 0; i < tokens.size() && !interrupted(); ++i) {
      model_.forward(*stream_, tokens[i], static_cast<int>(i));
      comparison.add(oracle.steps[i], model_.logits().download(*stream_), kOracleLimit);
    }
    return comparison;
  }

  Device& device_;
  const Options& options_;
  gguf::File file_;
  Tokenizer tokenizer_;
  std::unique_ptr<Stream> stream_;
  Llama model_;
};

double per_second(const std::vector<double>& times_us) {
  const double sum = std::accumulate(times_us.begin(), times_us.end(), 0.0);
  return sum > 0 ? 1e6 * static_cast<double>(times_us.size()) / sum : 0;
}

Json rate(const std::vector<double>& times_us) {
  return times_us.empty() ? unavailable("no such token") : measured(per_second(times_us));
}

Json oracle_json(const std::optional<OracleComparison>& c) {
  if (!c) return nullptr;
  return {{"name", "llama.cpp, weights dequantised to F32"},
          {"steps", c->steps},
          {"decidable_steps", c->decidable_steps},
          {"same_argmax", c->same_argmax},
          {"largest_difference", number(c->largest_difference)},
          {"limit", kOracleLimit},
          {"passed", c->passed(kOracleLimit)}};
}

/// Reads the whole file, for its hash: once a run.
Json model_json(const gguf::File& file) {
  return {{"file", file.path().filename().string()},
          {"bytes", file.bytes().size()},
          {"xxh3", hex(hash_of(file.bytes()))}};
}

Json record(const Device& device, const Json& model, const std::string& prompt, const std::string& text,
            const Result& r) {
  Json hashes = Json::array();
  for (const std::uint64_t hash : r.logits_hashes) hashes.push_back(hex(hash));
  const auto mean = [&](std::uint64_t sum) {
    return r.decode_us.empty() ? 0.0 : static_cast<double>(sum) / static_cast<double>(r.decode_us.size());
  };
  return {{"kind", "decode"},
          {"way", "launches"},
          {"model", model},
          {"prompt", prompt},
          {"text", text},
          {"stopped", r.stopped},
          {"prompt_tokens", r.prompt},
          {"tokens", r.tokens},
          {"n_prompt", r.prompt.size()},
          {"n_decoded", r.tokens.size()},
          {"timer", "host_wall"},
          {"prompt_us", r.prompt_us},
          {"decode_us", r.decode_us},
          {"prompt_tokens_per_s", rate(r.prompt_us)},
          {"decode_tokens_per_s", rate(r.decode_us)},
          {"per_token",
           {{"launches", mean(r.decode_counters.launches)},
            {"allocations", mean(r.decode_counters.allocations)},
            {"copies", mean(r.decode_counters.copies)},
            {"synchronizations", mean(r.decode_counters.synchronizations)}}},
          {"logits_hash", hashes},
          {"image", all_images_json(device)},
          {"source_hash", hex(all_sources_hash())},
          {"oracle", oracle_json(r.oracle)}};
}

int run(const std::vector<std::string>& command) {
  Options options;
  CLI::App app(
      "Continues prompts (raw text, greedily) with a model of the llama architecture and times every token.",
      kProgram);
  app.add_option("--model", options.model, "GGUF file; needed")->type_name("FILE");
  app.add_option("--prompt", options.prompts, "text to continue; repeatable")
      ->type_name("TEXT")
      ->allow_extra_args(false);
  app.add_option("--tokens", options.n_tokens, "tokens to generate at most")
      ->type_name("N")
      ->check(CLI::Range(1, 1 << 22))
      ->capture_default_str();
  app.add_option("--context", options.n_context,
                 "positions to make room for (default: the model's, at most 2048)")
      ->type_name("N")
      ->check(CLI::Range(1, 1 << 22));
  app.add_option("--oracle", options.oracle,
                 "judge the logits of the prompts in this file against an independent implementation's")
      ->type_name("FILE");
  app.add_option(
         "--against", options.against,
         "records of other runs, on any device: the logits must have the same bits, and some of them must "
         "be there; repeatable")
      ->type_name("FILE")
      ->allow_extra_args(false);
  add_json_flag(app, options.common.json);
  add_device_flags(app, options.common.device);
  if (const auto code = parse(app, command)) return *code;
  if (options.model.empty()) throw UsageError("--model is needed: the name of a GGUF file");
  std::vector<OraclePrompt> oracle;
  if (!options.oracle.empty()) oracle = read_oracle(options.oracle);
  if (options.prompts.empty()) {
    for (const OraclePrompt& prompt : oracle) options.prompts.push_back(prompt.text);
  }
  if (options.prompts.empty()) throw UsageError("--prompt or --oracle is needed");
  Evidence evidence(options.against);

  const std::unique_ptr<Device> device = open_device(options.common.device);
  std::cerr << describe(device->info()) << std::endl;
  Decoder decoder(*device, options);
  const Json model = model_json(decoder.file());
  for (const auto& [owner, bytes] : device->holdings())
    std::fprintf(stderr, "memory: %-12s %8.1f MiB\n", owner.c_str(), static_cast<double>(bytes) / (1 << 20));
  // All prompts are looked at before the first is decoded.
  struct Job {
    std::string prompt;
    const OraclePrompt* expected = nullptr;
    std::vector<int> tokens;
  };
  std::vector<Job> jobs;
  for (const std::string& prompt : options.prompts) {
    Job& job = jobs.emplace_back(Job{prompt, nullptr, {}});
    for (const OraclePrompt& p : oracle) {
      if (p.text == prompt) job.expected = &p;
    }
    job.tokens = decoder.encode(prompt, job.expected);
  }
  RunLog log(options.common.json, command, device.get());
  std::size_t failed = 0;
  std::size_t done = 0;
  OracleComparison all;
  for (const auto& [prompt, expected, tokens] : jobs) {
    if (interrupted()) break;
    std::cout << "\n> " << prompt << std::flush;
    const Result result = decoder.decode(tokens, expected);
    const Json entry = record(*device, model, prompt, decoder.text(result.tokens), result);
    log.append(entry);
    log.sync();
    evidence.compare(log.header(), entry);
    ++done;
    const Spread times = result.decode_us.empty() ? Spread{} : spread(result.decode_us);
    std::printf(
        "\n[prompt %zu tokens, %.1f tokens/s; decoded %zu (%s), %.1f tokens/s, median %.0f us a token, "
        "quartiles %.0f to %.0f; "
        "%.0f launches, %.0f allocations a token]\n",
        result.prompt.size(), per_second(result.prompt_us), result.tokens.size(), result.stopped.c_str(),
        per_second(result.decode_us), times.median, times.p25, times.p75,
        entry["per_token"]["launches"].get<double>(), entry["per_token"]["allocations"].get<double>());
    if (result.oracle) {
      const OracleComparison& c = *result.oracle;
      const bool ok = c.passed(kOracleLimit);
      failed += ok ? 0 : 1;
      all.steps += c.steps;
      all.decidable_steps += c.decidable_steps;
      std::printf(
          "[oracle: %s; largest difference of logits %.4g of %.4g allowed, the same choice in %zu of %zu "
          "decidable steps of %zu]\n",
          ok ? "passed" : "FAILED", c.largest_difference, kOracleLimit, c.same_argmax, c.decidable_steps,
          c.steps);
    }
  }
  if (all.steps != 0 &&
      static_cast<double>(all.decidable_steps) < kOracleDecidable * static_cast<double>(all.steps)) {
    std::printf("oracle: FAILED, only %zu of %zu steps are decidable\n", all.decidable_steps, all.steps);
    ++failed;
  }
  if (!options.against.empty()) {
    std::cout << evidence.text() << "\n";
    failed += evidence.passed() ? 0 : 1;
  }
  const std::size_t skipped = options.prompts.size() - done;
  return log.finish(done - std::min(done, failed), failed, skipped, skipped != 0 ? "interrupted" : "",
                    failed != 0 ? 1 : 0, options.against.empty() ? Json(nullptr) : evidence.json());
}

}  // namespace
}  // namespace m40llm::bench

int main(int argc, char** argv) {
  return m40llm::bench::run_program("m40llm-decode", argc, argv, m40llm::bench::run);
}
