// A row of a launch has the bits that it has alone.
#include "tests/bench/rows.hpp"

#include <gtest/gtest.h>

#include "engine/device/simt/simt_device.hpp"

namespace m40llm::testing {
namespace {

class Rows : public ::testing::TestWithParam<const char*> {};

TEST_P(Rows, AreAsAlone) { EXPECT_EQ(rows_differ(*open_simt_device({}), GetParam()), ""); }

INSTANTIATE_TEST_SUITE_P(, Rows,
                         ::testing::Values("rope_normal", "rope_neox", "kv_append", "attention_decode",
                                           "argmax"),
                         [](const auto& info) { return std::string(info.param); });

/// Blocks walk over units, so that a grid may have any number of them.
TEST(AttentionSplit, HasTheSameBitsOnAnyNumberOfBlocks) {
  const std::unique_ptr<Device> device = open_simt_device({});
  const Variant<AttentionDecodeParams>& split = kAttentionDecode.variant("split");
  const std::vector<int> all = {0, 1, 2, 3};
  rows::Bench as_chosen{*device};
  const auto expected = rows::run_attention(as_chosen, split, all);
  for (const unsigned blocks : {1u, 2u, 3u, 7u, 31u, 200u}) {
    rows::Bench bench{*device, blocks};
    EXPECT_EQ(rows::run_attention(bench, split, all), expected) << blocks << " blocks";
  }
}

/// A GPU has more SMs than this device has workers, and so more parts.
TEST(ArgmaxBlocks, JoinsMorePartsThanAWarpHasLanes) {
  const std::unique_ptr<Device> device = open_simt_device({});
  const Variant<ArgmaxParams>& blocks = kArgmax.variant("blocks");
  constexpr int kSms = 132, kValues = 100'000;  // 98 parts
  rows::Bench bench{*device};
  bench.n_sms = kSms;
  for (const int largest : {0, 40'000, 70'000, kValues - 1}) {
    std::vector<float> values = rows::normal(kValues, 9);
    values[static_cast<std::size_t>(largest)] = 100;
    const Buffer<float> x = bench.up(values);
    const Buffer<int> index = bench.up(std::vector{-1});
    bench.launch(blocks, {x.data(), index.data(), 1, kValues});
    EXPECT_EQ(index.download(*bench.stream).front(), largest);
  }
  EXPECT_EQ(bench.wrong, "");
}

}  // namespace
}  // namespace m40llm::testing
