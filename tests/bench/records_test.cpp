#include "bench/records.hpp"

#include <sys/resource.h>
#include <unistd.h>

#include <csignal>
#include <fstream>
#include <limits>
#include <sstream>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "engine/error.hpp"

namespace m40llm::bench {
namespace {

using testing::AllOf;
using testing::HasSubstr;

/// A folder of its own for each test, gone afterwards.
class RecordsTest : public testing::Test {
 protected:
  void SetUp() override {
    std::string name = testing::TempDir() + "m40llm-records-XXXXXX";
    ASSERT_NE(::mkdtemp(name.data()), nullptr);
    folder_ = name;
    file_ = folder_ / "run.jsonl";
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }

  void put(const std::string& text) const { std::ofstream(file_, std::ios::binary) << text; }
  std::string content() const {
    std::ostringstream text;
    text << std::ifstream(file_, std::ios::binary).rdbuf();
    return text.str();
  }

  std::filesystem::path folder_, file_;
};

template <class Call>
std::string message_of(Call call) {
  try {
    call();
  } catch (const Error& error) {
    return error.what();
  }
  return "no error";
}

const Json kHeader{{"kind", "header"}, {"device_kind", "simt"}, {"schema_version", kSchemaVersion}};

TEST_F(RecordsTest, WhatIsWrittenIsRead) {
  const Json parity{
      {"kind", "parity"}, {"error_over_bound", number(std::numeric_limits<double>::infinity())}, {"x", 0.1}};
  {
    RecordWriter writer(file_);
    writer.append(kHeader);
    writer.append(parity);
    writer.sync();
    EXPECT_EQ(writer.count(), 2U);
  }
  const Records read = read_records(file_);
  ASSERT_EQ(read.records.size(), 2U);
  EXPECT_EQ(read.records[0], kHeader);
  EXPECT_EQ(read.records[1], parity);
  EXPECT_EQ(read.records[1]["error_over_bound"], "inf");
  EXPECT_FALSE(read.dropped);
}

TEST_F(RecordsTest, MissingFoldersAreMade) {
  file_ = folder_ / "a" / "b" / "run.jsonl";
  RecordWriter(file_).append(kHeader);
  EXPECT_EQ(read_records(file_).records.size(), 1U);
}

TEST_F(RecordsTest, AFolderThatCannotBeMadeIsNamed) {
  put("a file");
  const std::string message = message_of([&] { RecordWriter writer(file_ / "sub" / "run.jsonl"); });
  EXPECT_THAT(message, AllOf(HasSubstr((file_ / "sub").string()), HasSubstr("ENOTDIR")));
}

TEST_F(RecordsTest, RunsAreAppendedNeverOverwritten) {
  RecordWriter(file_).append(kHeader);
  RecordWriter(file_).append(kHeader);
  EXPECT_EQ(read_records(file_).records.size(), 2U);
}

TEST_F(RecordsTest, TornLastLineIsDroppedAndSaid) {
  put(kHeader.dump() + "\n{\"kind\":\"par");
  const Records read = read_records(file_);
  EXPECT_EQ(read.records.size(), 1U);
  ASSERT_TRUE(read.dropped);
  EXPECT_THAT(*read.dropped, AllOf(HasSubstr("line 2"), HasSubstr("12 bytes"), HasSubstr(file_.string())));
}

TEST_F(RecordsTest, TornLastLineIsCutOffBeforeAppending) {
  put(kHeader.dump() + "\n{\"kind\":\"par");
  RecordWriter(file_).append({{"kind", "end"}});
  const Records read = read_records(file_);
  ASSERT_EQ(read.records.size(), 2U);
  EXPECT_EQ(read.records[1]["kind"], "end");
  EXPECT_FALSE(read.dropped);
}

TEST_F(RecordsTest, TornFirstAndOnlyLineLeavesAnEmptyFile) {
  put(std::string(10000, 'x'));  // longer than what is read at a time
  RecordWriter writer(file_);
  EXPECT_EQ(content(), "");
}

TEST_F(RecordsTest, TornMiddleLineIsAnErrorWithItsNumber) {
  put(kHeader.dump() + "\n{\"kind\":\"par\n" + kHeader.dump() + "\n");
  EXPECT_THAT(message_of([&] { read_records(file_); }),
              AllOf(HasSubstr(file_.string()), HasSubstr("line 2"), HasSubstr("{\"kind\":\"par")));
}

TEST_F(RecordsTest, ARecordWithoutAKindIsAnError) {
  put("{\"a\":1}\n");
  EXPECT_THAT(message_of([&] { read_records(file_); }), HasSubstr("line 1"));
}

TEST_F(RecordsTest, AnotherSchemaVersionIsAnError) {
  put("{\"kind\":\"header\",\"schema_version\":\"2\"}\n");
  EXPECT_THAT(message_of([&] { read_records(file_); }),
              AllOf(HasSubstr("schema_version \"2\""), HasSubstr("expected 1")));
}

TEST_F(RecordsTest, AMissingFileAndAFolderAreNamed) {
  EXPECT_THAT(message_of([&] { read_records(file_); }),
              AllOf(HasSubstr(file_.string()), HasSubstr("No such file")));
  EXPECT_THAT(message_of([&] { read_records(folder_); }),
              AllOf(HasSubstr(folder_.string()), HasSubstr("folder")));
}

TEST(Records, FullDiskIsNamed) {
  RecordWriter writer("/dev/full");
  EXPECT_THAT(message_of([&] { writer.append(kHeader); }),
              AllOf(HasSubstr("/dev/full"), HasSubstr("No space left on device"), HasSubstr("ENOSPC")));
  EXPECT_EQ(writer.count(), 0U);
}

TEST_F(RecordsTest, AShortWriteIsTakenBack) {
  RecordWriter writer(file_);
  writer.append(kHeader);
  const std::string before = content();

  // A limit on the file's size inside the next record makes write(2) write less than asked for.
  rlimit old_limit{};
  ASSERT_EQ(::getrlimit(RLIMIT_FSIZE, &old_limit), 0);
  rlimit limit = old_limit;
  limit.rlim_cur = before.size() + 5;
  const auto old_handler = std::signal(SIGXFSZ, SIG_IGN);
  ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &limit), 0);
  const std::string message = message_of([&] { writer.append(kHeader); });
  ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &old_limit), 0);
  std::signal(SIGXFSZ, old_handler);

  EXPECT_THAT(message,
              AllOf(HasSubstr(file_.string()), HasSubstr("only 5 of "), HasSubstr("last whole record")));
  EXPECT_EQ(content(), before);
}

TEST_F(RecordsTest, AFileWithoutARecordIsNotLeftBehind) {
  { RecordWriter writer(file_); }
  EXPECT_FALSE(std::filesystem::exists(file_));
  RecordWriter(file_).append(kHeader);
  { RecordWriter writer(file_); }
  EXPECT_TRUE(std::filesystem::exists(file_));
}

TEST_F(RecordsTest, TextThatIsNotUtf8IsReplaced) {
  RecordWriter(file_).append({{"kind", "decode"}, {"text", "caf\xc3"}});
  EXPECT_EQ(read_records(file_).records.at(0)["text"], "caf\xef\xbf\xbd");
}

TEST(Records, FiguresSayHowTheyWereHad) {
  EXPECT_EQ(measured(2.5), Json({{"value", 2.5}, {"status", "measured"}}));
  EXPECT_EQ(modelled(2.5, "why"), Json({{"value", 2.5}, {"status", "modelled"}, {"reason", "why"}}));
  EXPECT_EQ(unavailable("no GPU"),
            Json({{"value", nullptr}, {"status", "unavailable"}, {"reason", "no GPU"}}));
  EXPECT_EQ(measured(std::numeric_limits<double>::quiet_NaN())["status"], "unavailable");
  EXPECT_EQ(number(std::numeric_limits<double>::quiet_NaN()), "nan");
  EXPECT_EQ(number(-std::numeric_limits<double>::infinity()), "-inf");
  EXPECT_EQ(hex(0xabcULL), "0000000000000abc");
}

}  // namespace
}  // namespace m40llm::bench
