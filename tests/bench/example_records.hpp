#pragma once
#include <string>

#include "bench/provenance.hpp"
#include "bench/records.hpp"

/// One valid record of each kind.
namespace m40llm::bench::example {

inline const std::string kRun = hex(0xabcdef);

inline Json gpu_state() {
  return {{"sm_clock_mhz", measured(1114)},
          {"memory_clock_mhz", measured(3004)},
          {"temperature_c", measured(60)},
          {"power_w", unavailable("not told")}};
}

inline Json parity() {
  return {{"kind", "parity"},
          {"run", kRun},
          {"device_kind", "cuda"},
          {"op", "gemv_f16"},
          {"variant", "warp"},
          {"kernel", "gemv_f16_shared"},
          {"dtype", "f16"},
          {"shape", {{"rows", 576}, {"cols", 1536}}},
          {"inputs", "R"},
          {"seed", 1},
          {"line", "gemv_f16/shared rows=576,cols=1536 R seed=1"},
          {"source_hash", hex(1)},
          {"bit_exact", true},
          {"image", {{"arch", "sm_52"}, {"hash", hex(2)}}},
          {"launch", {{"grid", {72, 1}}, {"block", 256}, {"shared_bytes", 0}, {"resident", false}}},
          {"passed", true},
          {"error_over_bound", 0.25},
          {"worst", {{"index", 3}, {"got", 1.0}, {"want", "nan"}, {"bound", 1e-6}}},
          {"n_outputs", 576},
          {"output_hash", hex(3)}};
}

inline Json bench() {
  return {{"kind", "bench"},
          {"run", kRun},
          {"device_kind", "cuda"},
          {"op", "gemv_f16"},
          {"variant", "warp"},
          {"kernel", "gemv_f16_shared"},
          {"dtype", "f16"},
          {"shape", {{"rows", 576}, {"cols", 1536}}},
          {"inputs", "R"},
          {"seed", 1},
          {"source_hash", hex(1)},
          {"image", {{"arch", "sm_52"}, {"hash", hex(2)}}},
          {"launch", {{"grid", {72, 1}}, {"block", 256}, {"shared_bytes", 0}, {"resident", false}}},
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

inline Json occupancy() {
  return {{"kind", "occupancy"},
          {"run", kRun},
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

inline Json decode() {
  return {{"kind", "decode"},
          {"run", kRun},
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

/// On a GPU, where `kind` is "cuda".
inline Json header(const std::string& kind = "cuda", const std::string& run = kRun) {
  Json header = bench::header(std::vector<std::string>{"m40llm-parity"}, nullptr);
  header["run"] = run;
  header["device_kind"] = kind;
  if (kind == "none") return header;
  header["device"] = {{"kind", kind},
                      {"name", "a device"},
                      {"ordinal", 1},
                      {"pci_id", "0000:3b:00.0"},
                      {"arch", "sm_90"},
                      {"image", "compute_52"},
                      {"driver", "13.0"},
                      {"n_sms", 132},
                      {"memory_bytes", 1024},
                      {"l2_bytes", 0},
                      {"bandwidth_bytes_per_s", unavailable("why")},
                      {"ecc", false},
                      {"gpu_state", gpu_state()}};
  return header;
}

inline Json end(const std::string& kind = "cuda", const std::string& run = kRun) {
  Json end = bench::end({2, 1, 0, 0, "", false, 0, 1.5, nullptr}, nullptr);
  end["run"] = run;
  end["device_kind"] = kind;
  return end;
}

}  // namespace m40llm::bench::example
