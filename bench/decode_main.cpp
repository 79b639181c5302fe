#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <iostream>
#include <numeric>
#include <optional>
#include <system_error>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "bench/decode_run.hpp"
#include "bench/evidence.hpp"
#include "bench/options.hpp"
#include "bench/plan_table.hpp"
#include "bench/provenance.hpp"
#include "bench/run_log.hpp"
#include "bench/statistics.hpp"
#include "engine/device/image.hpp"
#include "engine/error.hpp"
#include "engine/printable.hpp"

/// m40llm-decode: a prompt in, the text the model continues it with out, and what every token took.
namespace m40llm::bench {
namespace {

constexpr const char* kProgram = "m40llm-decode";

struct Options {
  CommonOptions common;
  DecodeOptions decode;
  std::string oracle;
  std::vector<std::string> against;
  std::string logits;
  std::vector<Way> ways{Way::graph};
};

/// "launches,graph". Throws UsageError on what is no way, and on one that is there twice.
std::vector<Way> ways_of(const std::string& text) {
  std::string known;
  for (const Way way : kWays) known += (known.empty() ? "" : ", ") + std::string(name_of(way));
  std::vector<Way> ways;
  for (std::size_t begin = 0; begin <= text.size();) {
    const std::size_t end = std::min(text.find(',', begin), text.size());
    const std::string name = text.substr(begin, end - begin);
    const auto way = std::ranges::find(kWays, name, [](Way known_way) { return name_of(known_way); });
    if (way == kWays.end())
      throw UsageError("--way: " + in_quotes(name) + " is no way to take a step; there are " + known);
    if (std::ranges::count(ways, *way) != 0)
      throw UsageError("--way: " + in_quotes(name) + " is there twice; expected each once");
    ways.push_back(*way);
    begin = end + 1;
  }
  return ways;
}

/// Throws UsageError on what is none.
Activations activations_of(const std::string& text) {
  for (const Activations activations : {Activations::float32, Activations::int8}) {
    if (text == name_of(activations)) return activations;
  }
  throw UsageError("--activations: " + in_quotes(text) +
                   " is no type of activations; there are float32, int8");
}

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

double per_second(const std::vector<double>& times_us) {
  const double sum = std::accumulate(times_us.begin(), times_us.end(), 0.0);
  return sum > 0 ? 1e6 * static_cast<double>(times_us.size()) / sum : 0;
}

Json rate(const std::vector<double>& times_us) {
  return times_us.empty() ? unavailable("no such token") : measured(per_second(times_us));
}

Json oracle_json(const std::optional<OracleComparison>& c) {
  if (!c) return nullptr;
  return {{"name", "llama.cpp in float32, weights dequantised, K and V rounded to binary16"},
          {"steps", c->steps},
          {"decidable_steps", c->decidable_steps},
          {"same_argmax", c->same_argmax},
          {"largest_difference", number(c->largest_difference)},
          {"limit", kOracleLimit},
          {"first_difference", number(c->first_difference)},
          {"first_limit", kExactOracleLimit},
          {"passed", c->passed(kOracleLimit)}};
}

/// Reads the whole file, for its hash: once a run.
Json model_json(const gguf::File& file) {
  return {{"file", file.path().filename().string()}, {"bytes", file.size()}, {"xxh3", hex(file.hash())}};
}

Json record(const Device& device, const Json& model, Activations activations, std::uint64_t step_hash,
            const std::string& prompt, const std::string& text, const Decoded& r) {
  Json hashes = Json::array();
  for (const std::uint64_t hash : r.logits_hashes) hashes.push_back(hex(hash));
  const auto mean = [&](std::uint64_t sum) {
    return static_cast<double>(sum) / static_cast<double>(r.decode_us.size());
  };
  Json json{{"kind", "decode"},
            {"way", name_of(r.way)},
            {"activations", name_of(activations)},
            {"model", model},
            {"prompt", prompt},
            {"text", text},
            {"stopped", r.stopped},
            {"passed", r.passed()},
            {"prompt_tokens", r.prompt},
            {"tokens", r.tokens},
            {"n_prompt", r.prompt.size()},
            {"n_decoded", r.tokens.size()},
            {"timer", "host_wall"},
            {"prompt_us", r.prompt_us},
            {"decode_us", r.decode_us},
            {"prompt_tokens_per_s", rate(r.prompt_us)},
            {"decode_tokens_per_s", rate(r.decode_us)},
            {"per_token", nullptr},
            {"logits_hash", hashes},
            {"image", all_images_json(device)},
            {"source_hash", hex(step_hash)},
            {"oracle", oracle_json(r.oracle)}};
  if (!r.decode_us.empty()) {
    json["per_token"] = {{"launches", mean(r.decode_counters.launches)},
                         {"kernels", mean(r.decode_counters.kernels)},
                         {"allocations", mean(r.decode_counters.allocations)},
                         {"copies", mean(r.decode_counters.copies)},
                         {"synchronizations", mean(r.decode_counters.synchronizations)}};
  }
  if (!r.latency_us.empty()) json["latency_us"] = r.latency_us;
  if (!r.fault.empty()) json["fault"] = r.fault;
  return json;
}

bool is_same_file(const std::string& a, const std::string& b) {
  std::error_code unknown;  // neither need be there yet
  return std::filesystem::equivalent(a, b, unknown) ||
         std::filesystem::weakly_canonical(a, unknown) == std::filesystem::weakly_canonical(b, unknown);
}

/// An output that is also read would be lost.
void check_is_no_input(const std::string& flag, const std::string& output, const Options& options,
                       const std::vector<std::string>& prompt_files) {
  if (output.empty()) return;
  const auto check = [&](const std::string& input_flag, const std::string& input) {
    if (!input.empty() && is_same_file(output, input))
      throw UsageError(flag + " '" + output + "' is also the file of " + input_flag +
                       "; another one is expected");
  };
  check("--model", options.decode.model);
  check("--oracle", options.oracle);
  for (const std::string& file : prompt_files) check("--prompt-file", file);
  if (flag == "--json") return;  // records are appended, so to those compared with too
  check("--json", options.common.json);
  for (const std::string& file : options.against) check("--against", file);
}

/// A prompt, its tokens, and what the oracle says of it, unless null.
struct Job {
  Prompt prompt;
  const OraclePrompt* expected = nullptr;
  std::vector<int> tokens;
};

void print(const Decoded& result, const Json& entry) {
  std::printf("\n[by %s: prompt %zu tokens, %.1f tokens/s; decoded %zu (%s)",
              std::string(name_of(result.way)).c_str(), result.prompt.size(), per_second(result.prompt_us),
              result.tokens.size(), result.stopped.c_str());
  if (!result.decode_us.empty()) {  // the first token is the prompt's last step's
    const Spread times = spread(result.decode_us);
    const Json& per_token = entry["per_token"];
    std::printf(
        ", %.1f tokens/s, median %.0f us a token, quartiles %.0f to %.0f; %.0f launches, %.0f kernels, %.0f "
        "allocations a token",
        per_second(result.decode_us), times.median, times.p25, times.p75, per_token["launches"].get<double>(),
        per_token["kernels"].get<double>(), per_token["allocations"].get<double>());
  }
  std::printf("]\n");
  if (!result.latency_us.empty()) {
    const Spread latency = spread(result.latency_us);
    std::printf(
        "[from a job's submission to its first result: median %.1f us, quartiles %.1f to %.1f, of %zu "
        "jobs]\n",
        latency.median, latency.p25, latency.p75, result.latency_us.size());
  }
  if (!result.oracle) return;
  const OracleComparison& c = *result.oracle;
  std::printf(
      "[oracle: %s; largest difference of logits %.4g of %.4g allowed, at the first position %.2g of %.2g, "
      "the same "
      "choice in %zu of %zu decidable steps of %zu]\n",
      c.passed(kOracleLimit) ? "passed" : "FAILED", c.largest_difference, kOracleLimit, c.first_difference,
      kExactOracleLimit, c.same_argmax, c.decidable_steps, c.steps);
}

int print_plan(const Options& options) {
  const std::unique_ptr<Device> device = open_device(options.common.device);
  std::cerr << describe(device->info()) << std::endl;
  const Decoder decoder(*device, options.decode);
  std::cout << plan_table(decoder.model().plan(options.ways.front()), decoder.model().n_positions());
  return 0;
}

int run(const std::vector<std::string>& command) {
  Options options;
  CommandLine line(
      "Continues prompts (raw text, greedily) with a model (llama or qwen2) and times every token.",
      kProgram);
  line.text("--model", options.decode.model, "GGUF file; needed", "FILE");
  const PromptFlags prompt_flags(line);
  constexpr int kMostTokens = 1 << 22;
  line.count("--tokens", options.decode.n_tokens, kMostTokens, "tokens to generate at most");
  line.count(
      "--context", options.decode.n_context, kMostTokens,
      "positions to make room for (default: the model's, at most " + std::to_string(kDefaultContext) + ")");
  line.parsed(
      "--way", [&](const std::string& text) { options.ways = ways_of(text); },
      "how a step is put on the device: separate (each op by a kernel of its own), launches (fused ops), "
      "graph (those by one call), persistent (those by one kernel) or ring (all steps by one launch of it); "
      "of "
      "several each prompt is decoded by each, and they must give the same bits",
      "WAY[,WAY...]", std::string(name_of(options.ways.front())));
  line.parsed(
      "--activations", [&](const std::string& text) { options.decode.activations = activations_of(text); },
      "what products multiply quantized weights with: float32, or int8 (rounded to 8 bits by blocks of 32: "
      "faster, and other bits)",
      "TYPE", std::string(name_of(options.decode.activations)));
  line.text("--oracle", options.oracle,
            "judge the logits of the prompts in this file against an independent implementation's", "FILE");
  line.texts(
      "--against", options.against,
      "records of other runs, on any device: the logits must have the same bits, and some of them must "
      "be there; repeatable",
      "FILE");
  line.file("--logits", options.logits,
            "write the logits of each step of the one prompt into FILE (.npy: float32, steps x "
            "vocabulary), unless it fails or is cut short");
  line.count(
      "--latency", options.decode.n_latencies, 10000,
      "jobs of one step, from each prompt's first token, to time behind it by each way: from the job's "
      "submission until the host has its first result");
  line.flag("--find-not-finite", options.decode.find_not_finite,
            "a step whose logits are not finite is taken again, op by op: the first such op is named");
  bool plan = false;
  line.flag("--plan", plan,
            "print what a step by the one --way launches (graph: its kernels), as a table, for a step that "
            "attends to all of --context, and decode nothing");
  add_json_flag(line, options.common.json);
  add_device_flags(line, options.common.device);
  if (const auto code = line.parse(command)) return *code;
  if (options.decode.model.empty()) throw UsageError("--model is needed: the name of a GGUF file");
  if (plan) {
    const std::vector<std::string> given = line.given();
    for (const char* const flag : {"--json", "--logits", "--oracle", "--against", "--find-not-finite",
                                   "--latency", "--prompt", "--prompt-file", "--special", "--tokens"}) {
      if (std::ranges::count(given, flag) != 0)
        throw UsageError(std::string("--plan decodes nothing: ") + flag + " is not expected with it");
    }
    if (options.ways.size() != 1)
      throw UsageError("--plan takes one --way; there are " + std::to_string(options.ways.size()));
    return print_plan(options);
  }
  options.decode.special = prompt_flags.special();
  check_is_no_input("--json", options.common.json, options, prompt_flags.files());
  check_is_no_input("--logits", options.logits, options, prompt_flags.files());
  std::vector<OraclePrompt> oracle;
  if (!options.oracle.empty()) oracle = read_oracle(options.oracle);
  std::vector<Prompt> prompts = prompt_flags.read();
  if (interrupted()) return kInterrupted;
  if (prompts.empty()) {
    for (const OraclePrompt& prompt : oracle) prompts.push_back(prompt_of(prompt.text));
  }
  if (prompts.empty()) throw UsageError("--prompt, --prompt-file or --oracle is needed");
  if (!options.logits.empty() && prompts.size() != 1)
    throw UsageError("--logits takes one prompt; there are " + std::to_string(prompts.size()));
  if (!options.logits.empty() && options.ways.size() != 1)
    throw UsageError("--logits takes one --way; there are " + std::to_string(options.ways.size()));
  Evidence evidence(options.against);

  const std::unique_ptr<Device> device = open_device(options.common.device);
  std::cerr << describe(device->info()) << std::endl;
  Decoder decoder(*device, options.decode);
  const Json model = model_json(decoder.file());
  for (const auto& [owner, bytes] : device->holdings())
    std::fprintf(stderr, "memory: %-12s %8.1f MiB\n", owner.c_str(), static_cast<double>(bytes) / (1 << 20));
  // All prompts are looked at before the first is decoded.
  std::vector<Job> jobs;
  for (const Prompt& prompt : prompts) {
    Job& job = jobs.emplace_back(Job{prompt, nullptr, {}});
    for (const OraclePrompt& p : oracle) {
      if (p.text == prompt.text) job.expected = &p;
    }
    job.tokens = decoder.encode(prompt, job.expected);
  }
  if (!options.oracle.empty() &&
      std::ranges::none_of(jobs, [](const Job& job) { return job.expected != nullptr; })) {
    throw Error("--oracle " + in_quotes(options.oracle) +
                " has none of the prompts asked for, so nothing would be compared");
  }
  std::optional<LogitsFile> logits_file;
  if (!options.logits.empty()) logits_file.emplace(options.logits, decoder.tokenizer().size());
  RunLog log(options.common.json, command, device.get());
  std::size_t passed = 0;
  std::size_t failed = 0;
  OracleComparison all;
  const auto finish = [&](const Job& job, Decoded& result) {
    const auto entry_of_it = [&] {
      return record(*device, model, options.decode.activations,
                    source_hash(launches_of(decoder.model(), result.way)), job.prompt.text,
                    decoder.text(result.tokens), result);
    };
    Json entry = entry_of_it();
    if (!options.against.empty() && evidence.compare(log.header(), entry) == Evidence::Finding::different &&
        result.fault.empty()) {
      result.fault = "logits of other bits than recorded";
      entry = entry_of_it();
    }
    log.append(entry);
    log.sync();
    print(result, entry);
    if (result.interrupted()) return;
    ++(result.passed() ? passed : failed);
    std::fflush(stdout);  // stderr's lines stand behind it
    if (!result.fault.empty()) {
      std::fprintf(stderr, "%s: error: %s: %s\n", kProgram, job.prompt.name.c_str(),
                   printable_message(result.fault).c_str());
    }
    if (result.oracle) {
      all.steps += result.oracle->steps;
      all.decidable_steps += result.oracle->decidable_steps;
    }
  };
  for (const Job& job : jobs) {
    std::optional<Decoded> first;
    for (const Way way : options.ways) {
      if (interrupted()) break;
      std::cout << "\n> " << job.prompt.text << std::flush;
      Decoded result = decoder.decode(job.tokens, way, job.expected, logits_file ? &*logits_file : nullptr);
      if (first && result.fault.empty() && !result.interrupted())
        result.fault = first_difference(*first, result);
      finish(job, result);
      if (!first) first = std::move(result);
    }
  }
  const std::size_t skipped = jobs.size() * options.ways.size() - passed - failed;
  if (all.steps != 0 &&
      static_cast<double>(all.decidable_steps) < kOracleDecidable * static_cast<double>(all.steps)) {
    std::printf("oracle: FAILED, only %zu of %zu steps are decidable\n", all.decidable_steps, all.steps);
    ++failed;
  }
  if (!options.against.empty()) {
    std::cout << evidence.text() << "\n";
    if (!evidence.passed() && failed == 0 && !interrupted()) ++failed;
  }
  if (logits_file && failed == 0 && skipped == 0 && stdout_is_whole()) {
    logits_file->finish();
    std::fprintf(stderr, "logits: %s (%zu steps)\n", printable(logits_file->path().string()).c_str(),
                 logits_file->n_steps());
  }
  return log.finish(passed, failed, skipped, skipped != 0 ? "interrupted" : "", failed != 0 ? 1 : 0,
                    options.against.empty() ? Json(nullptr) : evidence.json());
}

}  // namespace
}  // namespace m40llm::bench

int main(int argc, char** argv) {
  return m40llm::bench::run_program("m40llm-decode", argc, argv, m40llm::bench::run);
}
