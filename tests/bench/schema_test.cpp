// Every kind of record against results/schema.json, and that the schema refuses what it must. M40LLM_SCHEMA
// is the schema's path.
#include <cstdlib>
#include <fstream>
#include <memory>

#include <gtest/gtest.h>
#include <valijson/adapters/nlohmann_json_adapter.hpp>
#include <valijson/schema.hpp>
#include <valijson/schema_parser.hpp>
#include <valijson/validator.hpp>

#include "bench/provenance.hpp"
#include "bench/records.hpp"

namespace m40llm::bench {
namespace {

/// What is wrong with a record; empty if it is valid.
std::string fault_of(const Json& record) {
  static const auto schema = [] {
    const nlohmann::json document = nlohmann::json::parse(std::ifstream(M40LLM_SCHEMA));
    auto parsed = std::make_unique<valijson::Schema>();
    valijson::SchemaParser(valijson::SchemaParser::kDraft7)
        .populateSchema(valijson::adapters::NlohmannJsonAdapter(document), *parsed);
    return parsed;
  }();
  const nlohmann::json plain = nlohmann::json::parse(record.dump());
  valijson::Validator validator;
  valijson::ValidationResults results;
  if (validator.validate(*schema, valijson::adapters::NlohmannJsonAdapter(plain), &results)) return "";
  std::string text;
  for (valijson::ValidationResults::Error error; results.popError(error);) {
    for (const std::string& part : error.context) text += part;
    text += ": " + error.description + "\n";
  }
  return text;
}

/// A device that is only asked what it is.
class FakeDevice : public Device {
 public:
  FakeDevice() {
    info_.name = "a device";
    info_.arch = "simt";
    info_.image = "host";
    info_.n_sms = 2;
  }
  const DeviceInfo& info() const override { return info_; }
  std::unique_ptr<Stream> create_stream() override { return nullptr; }
  std::unique_ptr<Event> create_event() override { return nullptr; }
  void* allocate_pinned(std::size_t) override { return nullptr; }
  void release_pinned(void*) noexcept override {}

 protected:
  void* allocate_raw(std::size_t, const std::string&) override { return nullptr; }
  void release_raw(void*) noexcept override {}

 private:
  DeviceInfo info_;
};

Json gpu_state() {
  return {{"sm_clock_mhz", measured(1114)},
          {"memory_clock_mhz", measured(3004)},
          {"temperature_c", measured(60)},
          {"power_w", unavailable("not told")}};
}

Json parity() {
  return {{"kind", "parity"},
          {"device_kind", "cuda"},
          {"op", "gemv_f16"},
          {"variant", "warp"},
          {"kernel", "gemv_f16_warp"},
          {"dtype", "f16"},
          {"shape", {{"rows", 576}, {"cols", 1536}}},
          {"inputs", "R"},
          {"seed", 1},
          {"line", "gemv_f16/warp rows=576,cols=1536 R seed=1"},
          {"source_hash", hex(1)},
          {"bit_exact", true},
          {"image", {{"arch", "sm_52"}, {"hash", hex(2)}}},
          {"passed", true},
          {"error_over_bound", 0.25},
          {"worst", {{"index", 3}, {"got", 1.0}, {"want", "nan"}, {"bound", 1e-6}}},
          {"n_outputs", 576},
          {"output_hash", hex(3)}};
}

Json bench() {
  return {{"kind", "bench"},
          {"device_kind", "cuda"},
          {"op", "gemv_f16"},
          {"variant", "warp"},
          {"kernel", "gemv_f16_warp"},
          {"dtype", "f16"},
          {"shape", {{"rows", 576}, {"cols", 1536}}},
          {"inputs", "R"},
          {"seed", 1},
          {"source_hash", hex(1)},
          {"image", {{"arch", "sm_52"}, {"hash", hex(2)}}},
          {"order", 0},
          {"repetition", 0},
          {"timer", "cuda_event"},
          {"samples_us", {4.5, 4.25, 5}},
          {"launches_per_sample", 25},
          {"input_sets", 2},
          {"median_us", 4.5},
          {"spread", {{"p25", 4.375}, {"p75", 4.75}, {"min", 4.25}, {"max", 5}}},
          {"bytes", modelled(1e6)},
          {"flops", modelled(1e6)},
          {"bytes_per_s", modelled(2e11, "why")},
          {"fraction_of_bandwidth", modelled(0.7, "why")},
          {"dram_bytes", unavailable("why")},
          {"achieved_occupancy", unavailable("why")},
          {"recheck", {{"passed", true}, {"error_over_bound", 0.2}, {"output_hash", hex(3)}}},
          {"gpu_state", {{"before", gpu_state()}, {"after", gpu_state()}}}};
}

Json occupancy() {
  return {{"kind", "occupancy"},
          {"device_kind", "none"},
          {"op", "rms_norm"},
          {"variant", "block"},
          {"kernel", "rms_norm_block"},
          {"source", "rms_norm"},
          {"shape", {{"n_rows", 1}, {"width", 576}}},
          {"arch", "sm_52"},
          {"chip", "Tesla M40"},
          {"image", {{"arch", "sm_52"}, {"hash", nullptr}}},
          {"launch", {{"grid", {1, 1}}, {"block", 256}, {"shared_bytes", 0}, {"resident", false}}},
          {"registers", 32},
          {"static_shared_bytes", 32},
          {"local_bytes", 0},
          {"spill_bytes", 0},
          {"blocks_per_sm", 8},
          {"warps_per_sm", 64},
          {"occupancy", modelled(1)},
          {"filled", modelled(0.005)},
          {"limiter", "grid"},
          {"sm_limiter", "warps"},
          {"waves", 1},
          {"tail_fraction", modelled(0.99)}};
}

Json decode() {
  return {{"kind", "decode"},
          {"device_kind", "simt"},
          {"way", "launches"},
          {"model", {{"file", "m.gguf"}, {"bytes", 98362432}, {"xxh3", hex(9)}}},
          {"prompt", "The"},
          {"text", " end"},
          {"stopped", "length"},
          {"prompt_tokens", {504}},
          {"tokens", {970, 2}},
          {"n_prompt", 1},
          {"n_decoded", 2},
          {"timer", "simt_wall"},
          {"prompt_us", {1000.5}},
          {"decode_us", {900, 901.5}},
          {"prompt_tokens_per_s", measured(999)},
          {"decode_tokens_per_s", measured(1100)},
          {"per_token", {{"launches", 400}, {"allocations", 0}, {"copies", 0.5}, {"synchronizations", 1}}},
          {"logits_hash", {hex(4), hex(5)}},
          {"image", {{"arch", "host"}, {"hash", nullptr}}},
          {"source_hash", hex(6)},
          {"oracle",
           {{"name", "llama.cpp"},
            {"steps", 64},
            {"decidable_steps", 60},
            {"same_argmax", 60},
            {"largest_difference", 0.01},
            {"limit", 0.05},
            {"passed", true}}}};
}

TEST(Schema, EveryKindOfRecordIsValid) {
  const FakeDevice device;
  const std::vector<std::string> command{"/somewhere/m40llm-parity", "--json", "x"};
  EXPECT_EQ(fault_of(header(command, &device)), "");
  EXPECT_EQ(fault_of(header(command, nullptr)), "");
  EXPECT_EQ(fault_of(parity()), "");
  EXPECT_EQ(fault_of(bench()), "");
  EXPECT_EQ(fault_of(occupancy()), "");
  EXPECT_EQ(fault_of(decode()), "");
  EXPECT_EQ(fault_of(end({3, 1, 0, 0, "", false, 0, 1.5}, &device)), "");
  EXPECT_EQ(fault_of(end({3, 1, 0, 0, "", false, 0, 1.5}, nullptr)), "");
}

TEST(Schema, TheHeaderNamesTheProgramWithoutItsFolder) {
  const std::vector<std::string> command{"/somewhere/m40llm-parity", "--list"};
  EXPECT_EQ(header(command, nullptr)["command"], Json({"m40llm-parity", "--list"}));
}

TEST(Schema, EveryFieldIsNeededExceptFault) {
  for (const Json& record : {parity(), bench(), occupancy(), decode()}) {
    for (const auto& [name, value] : record.items()) {
      Json without = record;
      without.erase(name);
      EXPECT_NE(fault_of(without), "") << record["kind"] << " without " << name;
    }
  }
}

Json with(Json record, const char* pointer, const Json& value) {
  record[Json::json_pointer(pointer)] = value;
  return record;
}

TEST(Schema, WhatIsWrongIsRefused) {
  EXPECT_NE(fault_of(with(parity(), "/kind", "parities")), "");
  EXPECT_NE(fault_of(with(parity(), "/extra", 1)), "");
  EXPECT_NE(fault_of(with(parity(), "/error_over_bound", nullptr)), "");
  EXPECT_NE(fault_of(with(parity(), "/output_hash", "0xabc")), "");
  EXPECT_NE(fault_of(with(parity(), "/shape", Json::object())), "");
  EXPECT_NE(fault_of(with(bench(), "/samples_us", Json::array())), "");
  EXPECT_NE(fault_of(with(bench(), "/bytes_per_s", 2e11)), "");  // a bare number does not say how it was had
  EXPECT_NE(fault_of(with(bench(), "/bytes_per_s/status", "guessed")), "");
  EXPECT_NE(fault_of(with(bench(), "/bytes_per_s", Json{{"value", nullptr}, {"status", "unavailable"}})), "");
  EXPECT_NE(fault_of(with(occupancy(), "/limiter", "luck")), "");
  EXPECT_NE(fault_of(with(occupancy(), "/device_kind", "cuda")), "");
  EXPECT_NE(fault_of(with(decode(), "/stopped", "boredom")), "");
}

TEST(Schema, ADecodeThatWasNotFiniteOrWasCutHasNotPassed) {
  const Json passed = with(decode(), "/passed", true);
  EXPECT_EQ(fault_of(passed), "");
  EXPECT_NE(fault_of(with(passed, "/fault", "the logit of token 0 is nan")), "");
  EXPECT_NE(fault_of(with(passed, "/stopped", "interrupted")), "");
  const Json failed = with(decode(), "/passed", false);
  EXPECT_EQ(fault_of(failed), "");
  EXPECT_EQ(fault_of(with(failed, "/stopped", "interrupted")), "");
  EXPECT_NE(fault_of(with(failed, "/stopped", "not_finite")), "");  // without saying what
  const Json fault = with(failed, "/fault", "the logit of token 0 is nan");
  EXPECT_EQ(fault_of(with(fault, "/stopped", "not_finite")), "");
  EXPECT_EQ(fault_of(fault), "");
  EXPECT_NE(fault_of(with(failed, "/fault", "")), "");
  EXPECT_NE(fault_of(with(decode(), "/fault", "x")), "");  // without "passed"
}

TEST(Schema, ATimeOnTheCpuCannotPassForAGpus) {
  Json simt = with(bench(), "/device_kind", "simt");
  EXPECT_NE(fault_of(simt), "");
  simt = with(simt, "/timer", "simt_wall");
  EXPECT_NE(fault_of(simt), "");
  simt = with(simt, "/fraction_of_bandwidth", unavailable("not a GPU"));
  EXPECT_EQ(fault_of(simt), "");
  EXPECT_NE(fault_of(with(bench(), "/timer", "simt_wall")), "");
}

TEST(Commit, TheEnvironmentOverridesTheBuild) {
  ::setenv("M40LLM_COMMIT", "0123456789abcdef0123456789abcdef01234567-dirty", 1);
  EXPECT_EQ(commit().hash, "0123456789abcdef0123456789abcdef01234567");
  EXPECT_TRUE(commit().dirty);
  ::unsetenv("M40LLM_COMMIT");
  EXPECT_NE(commit().hash, "0123456789abcdef0123456789abcdef01234567");
}

}  // namespace
}  // namespace m40llm::bench
