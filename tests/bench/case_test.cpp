#include <gtest/gtest.h>

#include "bench/suite.hpp"
#include "engine/error.hpp"

namespace m40llm::bench {
namespace {

TEST(Case, LineComesBack) {
  const Case c{"gemv_f16", "shared", {{"rows", 576}, {"cols", 1536}}, "S-outlier", 18446744073709551615u};
  EXPECT_EQ(c.line(), "gemv_f16/shared rows=576,cols=1536 S-outlier seed=18446744073709551615");
  const Case back = Case::parse(c.line());
  EXPECT_EQ(back.op, c.op);
  EXPECT_EQ(back.variant, c.variant);
  EXPECT_EQ(back.shape, c.shape);
  EXPECT_EQ(back.inputs, c.inputs);
  EXPECT_EQ(back.seed, c.seed);
}

std::string message_of(std::string_view line) {
  try {
    (void)Case::parse(line);
  } catch (const UsageError& error) {
    return error.what();
  }
  return "accepted";
}

TEST(Case, BadLinesSayWhatCannotBeRead) {
  const std::pair<const char*, const char*> bad[] = {
      {"", "no op and variant"},
      {"gemv rows=1 R seed=1", "no op and variant"},
      {"/warp rows=1 R seed=1", "no op and variant"},
      {"gemv/ rows=1 R seed=1", "no op and variant"},
      {"gemv/warp", "no shape"},
      {"gemv/warp  R seed=1", "no shape"},
      {"gemv/warp rows R seed=1", "rows '' is not a number"},
      {"gemv/warp rows=x R seed=1", "rows 'x' is not a number"},
      {"gemv/warp rows=1x R seed=1", "rows '1x' is not a number"},
      {"gemv/warp rows=99999999999 R seed=1", "not a number in range"},
      {"gemv/warp =1 R seed=1", "a size without a name"},
      {"gemv/warp rows=1,rows=2 R seed=1", "'rows' twice"},
      {"gemv/warp rows=1", "no class of inputs"},
      {"gemv/warp rows=1 R", "no seed="},
      {"gemv/warp rows=1 R sead=1", "no seed="},
      {"gemv/warp rows=1 R seed=", "seed '' is not a number"},
      {"gemv/warp rows=1 R seed=-1", "seed '-1' is not a number"},
      {"gemv/warp rows=1 R seed=1 more", "'more' behind the seed"},
  };
  for (const auto& [line, what] : bad) {
    const std::string message = message_of(line);
    EXPECT_NE(message.find(what), std::string::npos) << line << ": " << message;
    EXPECT_NE(message.find(line), std::string::npos) << message;
  }
}

TEST(Shape, NamesItsSizes) {
  const Shape shape{{"rows", 3}, {"cols", 4}};
  EXPECT_EQ(to_string(shape), "rows=3,cols=4");
  EXPECT_EQ(at(shape, "cols"), 4);
  EXPECT_THROW(at(shape, "width"), UsageError);
}

}  // namespace
}  // namespace m40llm::bench
