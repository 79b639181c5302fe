// Every kind of record against results/schema.json, and that the schema refuses what it must.
#include <cstdlib>
#include <memory>

#include <gtest/gtest.h>

#include "bench/provenance.hpp"
#include "bench/record_schema.hpp"
#include "tests/bench/example_records.hpp"

namespace m40llm::bench {
namespace {

using example::bench;
using example::decode;
using example::occupancy;
using example::parity;

/// What is wrong with a record; empty if it is valid.
std::string fault_of(const Json& record) { return record_fault(record); }

/// As the writer adds it.
Json with_run(Json record) {
  record["run"] = example::kRun;
  return record;
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
  std::unique_ptr<Graph> create_graph(std::span<const Launch>) override { return nullptr; }
  void* allocate_pinned(std::size_t) override { return nullptr; }
  void release_pinned(void*) noexcept override {}

 protected:
  void* allocate_raw(std::size_t, const std::string&) override { return nullptr; }
  void release_raw(void*) noexcept override {}

 private:
  DeviceInfo info_;
};

TEST(Schema, EveryKindOfRecordIsValid) {
  const FakeDevice device;
  const std::vector<std::string> command{"/somewhere/m40llm-parity", "--json", "x"};
  EXPECT_EQ(fault_of(header(command, &device)), "");
  EXPECT_EQ(fault_of(header(command, nullptr)), "");
  EXPECT_EQ(fault_of(parity()), "");
  EXPECT_EQ(fault_of(bench()), "");
  EXPECT_EQ(fault_of(occupancy()), "");
  EXPECT_EQ(fault_of(decode()), "");
  EXPECT_EQ(fault_of(with_run(end({3, 1, 0, 0, "", false, 0, 1.5, nullptr}, &device))), "");
  EXPECT_EQ(fault_of(with_run(end({3, 1, 0, 0, "", false, 0, 1.5,
                                   Json{{"equal", 1}, {"different", 0}, {"stale", 2}, {"not_recorded", 3}}},
                                  nullptr))),
            "");
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

TEST(Schema, OlderRunsDoNotSayHowManyKernelsAToken) {
  EXPECT_FALSE(decode()["per_token"].contains("kernels"));
  EXPECT_EQ(fault_of(with(decode(), "/per_token/kernels", 485.0)), "");
  EXPECT_NE(fault_of(with(decode(), "/per_token/kernels", "485")), "");
}

TEST(Schema, LatenciesAreOfOneJobAtLeast) {
  EXPECT_EQ(fault_of(with(decode(), "/latency_us", {12.5, 13.0})), "");
  EXPECT_NE(fault_of(with(decode(), "/latency_us", Json::array())), "");
  EXPECT_NE(fault_of(with(decode(), "/latency_us", {12.5, 0})), "");
}

/// As --rotate --graph records it; older runs have none of it.
Json timed_beside_a_read() {
  Json record = bench();
  record["timing"] = {{"rotated", true}, {"launched_by", "graph"}, {"times_l2", modelled(4.1, "why")}};
  record["share_of_plain_read"] = measured(0.9);
  record["plain_read"] = {
      {"bytes", modelled(1e6)}, {"samples_us", {4.0}}, {"launches_per_sample", 25}, {"input_sets", 2}};
  return record;
}

TEST(Schema, AShareOfAPlainReadStandsBesideTheRead) {
  const Json record = timed_beside_a_read();
  EXPECT_EQ(fault_of(record), "");
  EXPECT_NE(fault_of(with(record, "/timing/launched_by", "persistent")), "");
  EXPECT_NE(fault_of(with(record, "/timing/times_l2", 4.1)), "");
  EXPECT_NE(fault_of(with(record, "/plain_read/samples_us", Json::array())), "");
  for (const char* part : {"timing", "plain_read"}) {
    for (const auto& [name, value] : record[part].items()) {
      Json without = record;
      without[part].erase(name);
      EXPECT_NE(fault_of(without), "") << part << " without " << name;
    }
  }
  Json without = record;
  without.erase("plain_read");
  EXPECT_NE(fault_of(without), "");
  EXPECT_EQ(fault_of(with(without, "/share_of_plain_read", unavailable("why"))), "");
}

TEST(Schema, OfSeveralLaunchesAllAreTold) {
  const Json one = {{"kernel", "a"}, {"launch", bench()["launch"]}};
  for (const Json& record : {parity(), bench()}) {
    EXPECT_EQ(fault_of(with(record, "/launches", Json{one, one})), "") << record["kind"];
    EXPECT_NE(fault_of(with(record, "/launches", Json::array({one}))), "") << record["kind"];
  }
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
  EXPECT_NE(fault_of(with(decode(), "/tokens/0", 1e300)), "");
  EXPECT_NE(fault_of(with(decode(), "/tokens/0", 1LL << 31)), "");
  EXPECT_NE(fault_of(with(parity(), "/run", "x")), "");
  EXPECT_EQ(fault_of(with(parity(), "/launch", nullptr)), "");
  EXPECT_EQ(fault_of(with(parity(), "/seed", ~std::uint64_t{0})), "");
}

TEST(Schema, AFaultNamesTheField) {
  EXPECT_EQ(fault_of(with(parity(), "/worst/got", "<b>")).substr(0, 11), "worst.got: ");
  EXPECT_EQ(fault_of(with(decode(), "/tokens/1", "x")).substr(0, 10), "tokens.1: ");
  EXPECT_EQ(fault_of(with(parity(), "/kind", "purity")), "kind: no kind of record is 'purity'");
  EXPECT_NE(fault_of({{"kind", "decode"}, {"model", Json::object()}}), "");
  EXPECT_NE(fault_of(3), "");
}

TEST(Schema, TwoIdenticalGpusDiffer) {
  EXPECT_EQ(fault_of(example::header()), "");
  for (const char* field : {"/device/pci_id", "/device/ordinal"}) {
    Json header = example::header();
    header["device"].erase(std::string(field).substr(8));
    EXPECT_NE(fault_of(header), "") << field;
  }
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
  simt["plain_read"] = timed_beside_a_read()["plain_read"];
  EXPECT_EQ(fault_of(with(simt, "/share_of_plain_read", unavailable("not a GPU"))), "");
  EXPECT_NE(fault_of(with(simt, "/share_of_plain_read", measured(0.9))), "");
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
