#include "bench/evidence.hpp"

#include <algorithm>
#include <iostream>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "engine/printable.hpp"

namespace m40llm::bench {

Evidence::Evidence(const std::vector<std::string>& files) {
  for (const std::string& file : files) {
    const Records read = read_records(file);
    if (read.dropped) std::cerr << "note: " << printable_message(*read.dropped) << "\n";
    for (const RunRecords& run : read.runs) {
      for (const nlohmann::json& record : run.records) {
        for (const Output& output : outputs(record)) {
          std::vector<std::string>& hashes = known_[output.key][origin(run.header, record)];
          if (std::ranges::count(hashes, output.hash) == 0) hashes.push_back(output.hash);
        }
      }
    }
  }
}

namespace {

/// Whether products took activations of 8 bits: other bits than with floats.
bool integers(const nlohmann::json& record) { return record.value("activations", "float32") == "int8"; }

}  // namespace

Evidence::Origin Evidence::origin(const nlohmann::json& header, const nlohmann::json& record) {
  Origin origin{
      .source_hash = record["source_hash"], .arch = record["image"]["arch"], .compiler = {}, .launch = {}};
  if (header["device_kind"] == "cuda") {
    origin.compiler = header["images"]["toolkit"].get<std::string>();
    // PTX is compiled by the driver.
    if (origin.arch.starts_with("compute_"))
      origin.compiler += " " + header["device"]["driver"].get<std::string>();
  } else {
    origin.compiler = header["compiler"].dump();
  }
  if (record.contains("launch") && !record["launch"].is_null()) origin.launch = record["launch"].dump();
  return origin;
}

std::vector<Evidence::Output> Evidence::outputs(const nlohmann::json& record) {
  std::vector<Output> outputs;
  if (record["kind"] == "parity" && record["passed"] == true && record["bit_exact"] == true &&
      record["output_hash"].is_string()) {
    outputs.push_back({record["line"], record["output_hash"]});
  } else if (record["kind"] == "decode") {
    // A step's logits follow from the model and all tokens fed so far, whatever prompt they were of.
    std::vector<int> fed = record["prompt_tokens"];
    const std::vector<int> generated = record["tokens"];
    fed.insert(fed.end(), generated.begin(), generated.end());
    const std::string model = record["model"]["xxh3"].get<std::string>() + (integers(record) ? "int8" : "");
    std::uint64_t so_far = XXH3_64bits(model.data(), model.size());
    for (std::size_t i = 0; i < std::min(fed.size(), record["logits_hash"].size()); ++i) {
      so_far = XXH3_64bits_withSeed(&fed[i], sizeof fed[i], so_far);
      outputs.push_back({"logits " + hex(so_far), record["logits_hash"][i]});
    }
  }
  return outputs;
}

bool Evidence::excused(const Origin& a, const Origin& b) {
  return a.source_hash != b.source_hash || (a.arch == b.arch && a.compiler != b.compiler) ||
         (!a.launch.empty() && !b.launch.empty() && a.launch != b.launch);
}

Evidence::Finding Evidence::find(const Output& output, const Origin& mine) const {
  const auto found = known_.find(output.key);
  if (found == known_.end()) return Finding::not_recorded;
  bool equal = false;
  for (const auto& [origin, hashes] : found->second) {
    for (const std::string& hash : hashes) {
      equal = equal || hash == output.hash;
      if (hash != output.hash && !excused(mine, origin)) return Finding::different;
    }
  }
  return equal ? Finding::equal : Finding::stale;
}

Evidence::Finding Evidence::compare(const Json& header, const Json& record) {
  const nlohmann::json mine = record;
  const Origin from = origin(header, mine);
  Finding worst = Finding::not_recorded;
  const auto rank = [](Finding finding) {
    return finding == Finding::different ? 3
           : finding == Finding::stale   ? 2
           : finding == Finding::equal   ? 1
                                         : 0;
  };
  for (const Output& output : outputs(mine)) {
    const Finding finding = find(output, from);
    ++(finding == Finding::equal       ? equal_
       : finding == Finding::different ? different_
       : finding == Finding::stale     ? stale_
                                       : not_recorded_);
    if (rank(finding) > rank(worst)) worst = finding;
  }
  return worst;
}

std::string Evidence::text() const {
  return "hashes: " + std::to_string(equal_) + " equal, " + std::to_string(different_) + " different, " +
         std::to_string(stale_) + " stale (the kernels' source, launch or compiler differs too), " +
         std::to_string(not_recorded_) + " not recorded" +
         (equal_ == 0 ? "\nFAILED: nothing was equal to what --against holds, so nothing was compared" : "");
}

Json Evidence::json() const {
  return {{"equal", equal_}, {"different", different_}, {"stale", stale_}, {"not_recorded", not_recorded_}};
}

}  // namespace m40llm::bench
