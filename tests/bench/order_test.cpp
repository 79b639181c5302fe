// No order shows in a result: the same cases in four orders of lanes, warps and blocks, with one to four
// workers, compared with each other. A record of another run would not do: a change of source makes it stale.
#include <gtest/gtest.h>

#include "tests/bench/orders.hpp"

namespace m40llm::testing {
namespace {

class EveryOrder : public ::testing::TestWithParam<const bench::Suite*> {};

TEST_P(EveryOrder, GivesTheSameBits) {
  const Orders::Outcome outcome = Orders().compare(*GetParam());
  EXPECT_EQ(outcome.difference, "");
  EXPECT_GT(outcome.n_cases, 0);
}

std::vector<const bench::Suite*> all_suites() {
  std::vector<const bench::Suite*> all;
  for (const auto& suite : bench::suites()) all.push_back(suite.get());
  return all;
}
INSTANTIATE_TEST_SUITE_P(Ops, EveryOrder, ::testing::ValuesIn(all_suites()),
                         [](const auto& info) { return info.param->op(); });

}  // namespace
}  // namespace m40llm::testing
