// What a comparison with recorded output hashes finds, and when it fails.
#include "bench/evidence.hpp"

#include <cstdlib>
#include <filesystem>
#include <fstream>

#include <gtest/gtest.h>

#include "tests/bench/example_records.hpp"

namespace m40llm::bench {
namespace {

using Finding = Evidence::Finding;

class EvidenceTest : public testing::Test {
 protected:
  void SetUp() override {
    std::string name = testing::TempDir() + "m40llm-evidence-XXXXXX";
    ASSERT_NE(::mkdtemp(name.data()), nullptr);
    folder_ = name;
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }

  /// A file with one run.
  std::string file(const Json& header, const std::vector<Json>& records) {
    const std::filesystem::path path = folder_ / std::to_string(n_files_++);
    RecordWriter writer(path, header);
    for (const Json& record : records) writer.append(record);
    return path;
  }

  std::filesystem::path folder_;
  int n_files_ = 0;
};

Json with(Json record, const char* pointer, const Json& value) {
  record[Json::json_pointer(pointer)] = value;
  return record;
}

Json simt(const Json& record) { return with(with(record, "/device_kind", "simt"), "/image/arch", "host"); }

TEST_F(EvidenceTest, EqualBitsAreEqualWhateverMadeThem) {
  Evidence evidence({file(example::header(), {example::parity()})});
  EXPECT_EQ(evidence.compare(example::header(), example::parity()), Finding::equal);
  EXPECT_EQ(evidence.compare(example::header("simt"), simt(with(example::parity(), "/source_hash", hex(77)))),
            Finding::equal);
  EXPECT_TRUE(evidence.passed());
  EXPECT_EQ(evidence.json(), Json({{"equal", 2}, {"different", 0}, {"stale", 0}, {"not_recorded", 0}}));
}

TEST_F(EvidenceTest, OtherBitsAreStaleOnlyWhereSomethingElseDiffers) {
  Evidence evidence({file(example::header(), {example::parity()})});
  const Json other = with(example::parity(), "/output_hash", hex(99));
  Json compiler = example::header();
  compiler["images"]["toolkit"] = "13.9";
  Json driver = example::header();
  driver["device"]["driver"] = "14.0";
  Json host_compiler = example::header();
  host_compiler["compiler"]["name"] = "clang";
  EXPECT_EQ(evidence.compare(example::header(), other), Finding::different);
  EXPECT_EQ(evidence.compare(example::header(), with(other, "/source_hash", hex(77))), Finding::stale);
  EXPECT_EQ(evidence.compare(example::header(), with(other, "/launch/block", 512)), Finding::stale);
  EXPECT_EQ(evidence.compare(example::header(), with(other, "/launch", nullptr)), Finding::different);
  EXPECT_EQ(evidence.compare(compiler, other), Finding::stale);
  // The driver compiles PTX alone, the host's compiler no kernel of a GPU.
  EXPECT_EQ(evidence.compare(driver, other), Finding::different);
  EXPECT_EQ(evidence.compare(host_compiler, other), Finding::different);
  // Another device or arch excuses nothing: the same bits are what is promised.
  EXPECT_EQ(evidence.compare(example::header("simt"), simt(other)), Finding::different);
  EXPECT_EQ(evidence.compare(example::header(), with(other, "/image/arch", "sm_90")), Finding::different);
  EXPECT_FALSE(evidence.passed());
}

TEST_F(EvidenceTest, AnotherDriverIsAnotherCompilerOfPtx) {
  const Json ptx = with(example::parity(), "/image/arch", "compute_52");
  Evidence evidence({file(example::header(), {ptx})});
  Json driver = example::header();
  driver["device"]["driver"] = "14.0";
  EXPECT_EQ(evidence.compare(driver, with(ptx, "/output_hash", hex(99))), Finding::stale);
}

TEST_F(EvidenceTest, NothingEqualFails) {
  Evidence evidence({file(example::header(), {example::parity()})});
  EXPECT_FALSE(evidence.passed());
  evidence.compare(example::header(),
                   with(with(example::parity(), "/output_hash", hex(99)), "/source_hash", hex(77)));
  EXPECT_EQ(evidence.compare(example::header(), with(example::parity(), "/line", "another")),
            Finding::not_recorded);
  EXPECT_FALSE(evidence.passed());
  EXPECT_NE(evidence.text().find("FAILED: nothing was equal"), std::string::npos);
  evidence.compare(example::header(), example::parity());
  EXPECT_TRUE(evidence.passed());
  EXPECT_EQ(evidence.text().find("FAILED"), std::string::npos);
}

TEST_F(EvidenceTest, OneOfSeveralFilesAndRunsThatDiffersIsEnough) {
  const Json other = with(example::parity(), "/output_hash", hex(99));
  const std::string good = file(example::header(), {example::parity()});
  const std::string stale = file(example::header("cuda", hex(5)), {with(other, "/source_hash", hex(77))});
  const std::string bad = file(example::header("cuda", hex(6)), {other});
  EXPECT_EQ(Evidence({good, stale}).compare(example::header(), example::parity()), Finding::equal);
  EXPECT_EQ(Evidence({good, bad}).compare(example::header(), example::parity()), Finding::different);
}

TEST_F(EvidenceTest, WhatFailedOrIsNotBitExactIsNoEvidence) {
  Evidence evidence({file(example::header(), {with(example::parity(), "/passed", false),
                                              with(example::parity(), "/bit_exact", false)})});
  EXPECT_EQ(evidence.compare(example::header(), example::parity()), Finding::not_recorded);
}

TEST_F(EvidenceTest, StepsAreComparedByTheModelAndTheTokensFed) {
  const auto cuda = [](Json decode) {
    decode["device_kind"] = "cuda";
    decode["prompt_tokens"] = {1, 2};
    decode["tokens"] = {3, 4};
    decode["logits_hash"] = {hex(12), hex(123), hex(0)};
    return decode;
  };
  const Json recorded = cuda(example::decode());
  const std::string known = file(example::header(), {recorded});

  Evidence same({known});
  EXPECT_EQ(same.compare(example::header(), recorded), Finding::equal);
  EXPECT_EQ(same.json()["equal"], 3);
  // The same tokens, of which another number is the prompt.
  Json longer = with(with(recorded, "/prompt_tokens", {1, 2, 3}), "/tokens", {4, 9});
  Evidence prefix({known});
  EXPECT_EQ(
      prefix.compare(example::header(), with(longer, "/logits_hash", {hex(12), hex(123), hex(0), hex(7)})),
      Finding::equal);
  EXPECT_EQ(prefix.json(), Json({{"equal", 3}, {"different", 0}, {"stale", 0}, {"not_recorded", 1}}));
  // Another token: nothing behind it is comparable.
  Evidence parted({known});
  parted.compare(example::header(), with(recorded, "/prompt_tokens/1", 8));
  EXPECT_EQ(parted.json(), Json({{"equal", 1}, {"different", 0}, {"stale", 0}, {"not_recorded", 2}}));
  Evidence model({known});
  EXPECT_EQ(model.compare(example::header(), with(recorded, "/model/xxh3", hex(1))), Finding::not_recorded);
  Evidence different({known});
  EXPECT_EQ(different.compare(example::header(), with(recorded, "/logits_hash/1", hex(1))),
            Finding::different);
  EXPECT_FALSE(different.passed());
}

TEST_F(EvidenceTest, AnotherWayToTakeAStepIsNoExcuse) {
  const std::string known = file(example::header("simt"), {example::decode()});
  const Json graph = with(example::decode(), "/way", "graph");
  EXPECT_EQ(Evidence({known}).compare(example::header("simt"), graph), Finding::equal);
  EXPECT_EQ(Evidence({known}).compare(example::header("simt"), with(graph, "/logits_hash/0", hex(1))),
            Finding::different);
}

}  // namespace
}  // namespace m40llm::bench
