/// Files that are almost records, through the reader and the comparison that uses it.
#include <iostream>

#include "bench/evidence.hpp"
#include "tests/bench/example_records.hpp"
#include "tests/fuzz/json_mutations.hpp"

namespace m40llm::bench {
namespace {

TEST(RecordsFuzz, EveryFileIsReadOrRefused) {
  const std::uint64_t inputs = fuzz::from_environment("M40LLM_FUZZ_INPUTS", 4000);
  fuzz::Mutator mutate(fuzz::from_environment("M40LLM_FUZZ_SEED", 1));
  Json decode = example::decode();
  decode["device_kind"] = "cuda";
  Json none = example::occupancy();
  none["run"] = hex(2);
  Json end = example::end();
  end["records"] = 4;
  const std::vector<nlohmann::json> whole{example::header(),
                                          example::header("none", hex(2)),
                                          example::parity(),
                                          none,
                                          decode,
                                          example::bench(),
                                          end};
  const fuzz::MemoryFile file;
  std::size_t taken = 0;
  std::cerr.setstate(std::ios_base::failbit);  // notes on torn lines
  for (std::uint64_t i = 0; i < inputs && !testing::Test::HasFailure(); ++i) {
    std::vector<nlohmann::json> records = whole;
    if (mutate.below(4) != 0) mutate.change_value(records[mutate.below(records.size())]);
    std::string text;
    for (const nlohmann::json& record : records)
      text += record.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace) + "\n";
    for (std::size_t n = mutate.below(3); n > 0; --n) mutate.change_bytes(text);
    file.write(text);
    fuzz::expect_read_or_refused(
        file.path,
        [&] {
          Evidence evidence({file.path});
          evidence.compare(example::header(), example::parity());
          evidence.compare(example::header(), decode);
        },
        taken);
    if (testing::Test::HasFailure())
      std::fprintf(stderr, "input %llu:\n%s\n", static_cast<unsigned long long>(i), text.c_str());
  }
  std::cerr.clear();
  std::printf("records: %llu inputs, %zu read, the rest refused\n", static_cast<unsigned long long>(inputs),
              taken);
  EXPECT_GT(taken, inputs / 20);
  EXPECT_LT(taken, inputs / 2);
}

}  // namespace
}  // namespace m40llm::bench
