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

}  // namespace
}  // namespace m40llm::testing
