#include "bench/records.hpp"

#include <fcntl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <csignal>
#include <cstdio>
#include <fstream>
#include <limits>
#include <sstream>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "engine/error.hpp"
#include "tests/bench/example_records.hpp"

namespace m40llm::bench {
namespace {

using testing::AllOf;
using testing::AnyOf;
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

const Json kHeader = example::header();

/// The records between header and end of the file's one run.
std::vector<nlohmann::json> measurements(const std::filesystem::path& file) {
  const Records read = read_records(file);
  EXPECT_EQ(read.runs.size(), 1U);
  return read.runs.at(0).records;
}

TEST_F(RecordsTest, WhatIsWrittenIsRead) {
  Json parity = example::parity();
  parity.erase("run");
  parity["error_over_bound"] = number(std::numeric_limits<double>::infinity());
  {
    RecordWriter writer(file_, kHeader);
    writer.append(parity);
    writer.append(example::end());
    writer.sync();
    EXPECT_EQ(writer.count(), 3U);
  }
  const Records read = read_records(file_);
  ASSERT_EQ(read.runs.size(), 1U);
  EXPECT_EQ(read.runs[0].header, nlohmann::json(kHeader));
  ASSERT_EQ(read.runs[0].records.size(), 1U);
  parity["run"] = example::kRun;
  EXPECT_EQ(read.runs[0].records[0], nlohmann::json(parity));
  EXPECT_EQ(read.runs[0].end["kind"], "end");
  EXPECT_FALSE(read.dropped);
}

TEST_F(RecordsTest, MissingFoldersAreMade) {
  file_ = folder_ / "a" / "b" / "run.jsonl";
  RecordWriter(file_, kHeader);
  EXPECT_EQ(read_records(file_).runs.size(), 1U);
}

TEST_F(RecordsTest, AFolderThatCannotBeMadeIsNamed) {
  put("a file");
  EXPECT_THAT(message_of([&] { RecordWriter(file_ / "x" / "run.jsonl", kHeader); }),
              AllOf(HasSubstr((file_ / "x").string()), HasSubstr("ENOTDIR")));
}

TEST_F(RecordsTest, ATornLastLineIsDroppedByReaders) {
  put(kHeader.dump() + "\n{\"kind\":\"par");
  const Records read = read_records(file_);
  EXPECT_EQ(read.runs.size(), 1U);
  ASSERT_TRUE(read.dropped);
  EXPECT_THAT(*read.dropped, AllOf(HasSubstr("line 2"), HasSubstr("12 bytes")));
}

TEST_F(RecordsTest, ATornLastLineIsCutOffBeforeAppending) {
  put(kHeader.dump() + "\n{\"kind\":\"par");
  RecordWriter(file_, example::header("cuda", hex(2)));
  const Records read = read_records(file_);
  EXPECT_EQ(read.runs.size(), 2U);
  EXPECT_FALSE(read.dropped);
}

TEST_F(RecordsTest, ATornHeaderIsCutOffWhole) {
  const std::string whole = kHeader.dump();
  put(whole.substr(0, whole.size() - 1) + std::string(10000, ' '));  // longer than what is read at a time
  RecordWriter(file_, kHeader);
  EXPECT_EQ(content(), kHeader.dump() + "\n");
}

TEST_F(RecordsTest, WhatIsNoRecordsFileIsLeftAlone) {
  for (const std::string& other :
       {std::string("GGUF\1\2\3 a model without a newline"), std::string("notes\n"), std::string("{}\n"),
        std::string("x"), R"({"kind":"header","schema_version":1,"run":"x"})" + std::string("\n")}) {
    put(other);
    EXPECT_THAT(message_of([&] { RecordWriter(file_, kHeader); }),
                AllOf(HasSubstr(file_.string()),
                      AnyOf(HasSubstr("something else"), HasSubstr("schema_version 1, expected 2"))));
    EXPECT_EQ(content(), other);
  }
}

TEST_F(RecordsTest, ASecondWriterIsRefusedAndHarmsNothing) {
  const RecordWriter first(file_, kHeader);
  const std::string before = content();
  std::ofstream(file_, std::ios::app) << "{\"kind\":\"par";  // as the first one's write may stand half-way
  EXPECT_THAT(message_of([&] { RecordWriter(file_, kHeader); }),
              AllOf(HasSubstr(file_.string()),
                    HasSubstr("another run (process " + std::to_string(::getpid()) + ")")));
  EXPECT_EQ(content(), before + "{\"kind\":\"par");
}

TEST_F(RecordsTest, AnEmptyFileAndALinksTargetAreKept) {
  put("");
  std::filesystem::create_symlink(file_, folder_ / "link");
  { const RecordWriter writer(folder_ / "link", kHeader); }
  EXPECT_TRUE(std::filesystem::is_symlink(folder_ / "link"));
  EXPECT_EQ(content(), kHeader.dump() + "\n");
}

TEST_F(RecordsTest, AFileThatIsRemovedMeanwhileIsAnError) {
  RecordWriter writer(file_, kHeader);
  writer.sync();
  std::filesystem::rename(file_, folder_ / "away");
  EXPECT_THAT(message_of([&] { writer.sync(); }),
              AllOf(HasSubstr(file_.string()), HasSubstr("removed or replaced")));
  put("another");
  EXPECT_THAT(message_of([&] { writer.sync(); }), HasSubstr("removed or replaced"));
}

TEST_F(RecordsTest, TheProgramsOwnOutputIsRefused) {
  put("");
  const int kept = ::dup(STDOUT_FILENO);
  std::fflush(stdout);
  const Descriptor file(::open(file_.c_str(), O_WRONLY));
  ASSERT_EQ(::dup2(file.get(), STDOUT_FILENO), STDOUT_FILENO);
  const std::string message = message_of([&] { RecordWriter(file_, kHeader); });
  const std::string by_number = message_of([&] { RecordWriter("/dev/stdout", kHeader); });
  ::dup2(kept, STDOUT_FILENO);
  ::close(kept);
  EXPECT_THAT(message, AllOf(HasSubstr(file_.string()), HasSubstr("own output")));
  EXPECT_THAT(by_number, HasSubstr("own output"));
  EXPECT_EQ(content(), "");
}

TEST_F(RecordsTest, APipeWithoutAReaderDoesNotBlock) {
  ASSERT_EQ(::mkfifo(file_.c_str(), 0600), 0);
  EXPECT_THAT(message_of([&] { RecordWriter(file_, kHeader); }), HasSubstr("ENXIO"));
  EXPECT_THAT(message_of([&] { read_records(file_); }), AllOf(HasSubstr(file_.string()), HasSubstr("pipe")));
}

TEST_F(RecordsTest, LinesOfTwoRunsGoToTheirOwn) {
  const std::string other = hex(0x1234);
  Json simt = example::parity();
  simt["run"] = other;
  simt["device_kind"] = "simt";
  put(kHeader.dump() + "\n" + example::header("simt", other).dump() + "\n" + example::parity().dump() + "\n" +
      simt.dump() + "\n" + example::end().dump() + "\n" + simt.dump() + "\n");
  const Records read = read_records(file_);
  ASSERT_EQ(read.runs.size(), 2U);
  EXPECT_EQ(read.runs[0].records.size(), 1U);
  EXPECT_EQ(read.runs[1].records.size(), 2U);
  EXPECT_EQ(read.runs[1].header["device_kind"], "simt");
  EXPECT_FALSE(read.runs[0].end.is_null());
  EXPECT_TRUE(read.runs[1].end.is_null());  // cut short, although another run ended
}

TEST_F(RecordsTest, ReadsLinesInAnyOrder) {
  const std::string header = kHeader.dump() + "\n";
  const std::string parity = example::parity().dump() + "\n";
  const std::string end = example::end().dump() + "\n";
  for (const std::string& text : {parity + header + end, end + parity + header, end + header + parity}) {
    put(text);
    const Records read = read_records(file_);
    ASSERT_EQ(read.runs.size(), 1U) << text;
    EXPECT_EQ(read.runs[0].records.size(), 1U);
    EXPECT_EQ(read.runs[0].header["kind"], "header");
    EXPECT_EQ(read.runs[0].end["kind"], "end");
  }
}

TEST_F(RecordsTest, WhatBelongsToNoRunIsRefused) {
  const std::string parity = example::parity().dump() + "\n";
  const std::string header = kHeader.dump() + "\n";
  const std::string end = example::end().dump() + "\n";
  Json cpu = example::parity();
  cpu["device_kind"] = "simt";
  for (const auto& [text, why] :
       {std::pair{parity, "line 1: run 0000000000abcdef has no header"},
        std::pair{header + header, "line 2: run 0000000000abcdef begins a second time"},
        std::pair{header + parity + end + end, "line 4: run 0000000000abcdef ends a second time"},
        std::pair{header + parity + end + parity,
                  "line 3: run 0000000000abcdef wrote 2 records, and 3 are here"},
        std::pair{header + end,
                  "line 2: run 0000000000abcdef wrote 2 records, and 1 are here: some were lost"},
        std::pair{header + cpu.dump() + "\n", "line 2: device_kind is not that of its run's header"},
        std::pair{std::string(), "no records"}, std::pair{header.substr(0, 20), "no records"}}) {
    put(text);
    EXPECT_THAT(message_of([&] { read_records(file_); }), AllOf(HasSubstr(file_.string()), HasSubstr(why)));
  }
}

TEST_F(RecordsTest, WhatIsWrongIsNamedWithLineAndField) {
  Json wrong = example::decode();
  wrong["model"]["bytes"] = "many";
  for (const auto& [line, why] :
       {std::pair{wrong.dump(), "model.bytes"},
        std::pair{std::string(R"({"kind":"decode","model":{}})"), "Missing required property"},
        std::pair{std::string("{\"kind\":\"par"), "not JSON at byte"},
        std::pair{std::string("[1]"), "\"kind\""}, std::pair{std::string("{}"), "\"kind\""},
        std::pair{std::string(R"({"kind":3})"), "\"kind\""},
        std::pair{std::string(R"({"kind":"p\u001b"})"), "no kind of record is 'p?'"},
        std::pair{std::string(), "not JSON"}, std::pair{std::string(R"({"kind":1e999})"), "out of range"},
        std::pair{std::string("\xff\xfe"), "not JSON"},
        std::pair{std::string(100000, '['), "nests brackets 100000 deep"},
        std::pair{"{\"a\":" + std::string(100000, '['), "nests brackets 100001 deep"},
        std::pair{std::string((16 << 20) + 1, ' '), "a record has at most 16777216"}}) {
    put(kHeader.dump() + "\n" + line + "\n" + example::end().dump() + "\n");
    EXPECT_THAT(message_of([&] { read_records(file_); }),
                AllOf(HasSubstr(file_.string()), HasSubstr("line 2"), HasSubstr(why)));
  }
}

TEST_F(RecordsTest, AnotherSchemaVersionIsAnError) {
  put("{\"kind\":\"header\",\"schema_version\":1}\n");
  EXPECT_THAT(message_of([&] { read_records(file_); }),
              AllOf(HasSubstr("schema_version 1"), HasSubstr("expected 2")));
}

TEST_F(RecordsTest, WhatCannotBeReadIsNamed) {
  EXPECT_THAT(message_of([&] { read_records(file_); }),
              AllOf(HasSubstr(file_.string()), HasSubstr("No such file")));
  EXPECT_THAT(message_of([&] { read_records(folder_); }),
              AllOf(HasSubstr(folder_.string()), HasSubstr("folder")));
  EXPECT_THAT(message_of([&] { read_records("/dev/zero"); }),
              AllOf(HasSubstr("/dev/zero"), HasSubstr("device")));
  EXPECT_THAT(message_of([&] { read_records("/proc/self/mem"); }), HasSubstr("EIO"));  // a read that fails
}

TEST_F(RecordsTest, ALastLineThatIsNoRecordIsRefusedAndKept) {
  const std::string header = kHeader.dump() + "\n";
  for (const std::string& last : {std::string("\n"), std::string("a note\n"), std::string("{\"a\":1}\n"),
                                  std::string("{\"a\":1}"), std::string("\n{\"kind\":\"par")}) {
    put(header + last);
    EXPECT_THAT(message_of([&] { RecordWriter(file_, kHeader); }),
                AllOf(HasSubstr(file_.string()), HasSubstr("its last line is no record")));
    EXPECT_EQ(content(), header + last);
  }
}

TEST_F(RecordsTest, AFileThatAnotherProgramCutsOrAddsToIsAnError) {
  for (const std::string& added : {std::string(), std::string("more\n")}) {
    std::filesystem::remove(file_);
    RecordWriter writer(file_, kHeader);
    const std::string changed = added.empty() ? "" : content() + added;
    put(changed);
    const std::string size = "it has " + std::to_string(changed.size()) + " bytes, expected " +
                             std::to_string(kHeader.dump().size() + 1);
    const auto named = AllOf(HasSubstr(file_.string()), HasSubstr("another program"), HasSubstr(size));
    EXPECT_THAT(message_of([&] { writer.append(example::parity()); }), named);
    EXPECT_THAT(message_of([&] { writer.sync(); }), named);
    EXPECT_EQ(content(), changed);
  }
}

TEST_F(RecordsTest, WhatNoReaderWouldTakeIsNotWritten) {
  RecordWriter writer(file_, kHeader);
  const std::string before = content();
  Json record = example::decode();
  record["text"] = std::string(kMostLineBytes, 'a');
  EXPECT_THAT(
      message_of([&] { writer.append(record); }),
      AllOf(HasSubstr(file_.string()), HasSubstr("readers take at most " + std::to_string(kMostLineBytes))));
  EXPECT_EQ(content(), before);
}

TEST_F(RecordsTest, AFileDoesNotGrowPastWhatReadersTake) {
  const std::string header = kHeader.dump() + "\n";
  const std::string last = "\n" + example::end().dump() + "\n";
  put(header);
  // A hole, so that it takes no space.
  std::filesystem::resize_file(file_, kMostFileBytes - header.size() - last.size());
  std::ofstream(file_, std::ios::app) << last;
  RecordWriter writer(file_, kHeader);  // exactly as long as may be
  EXPECT_THAT(message_of([&] { writer.append(example::end()); }),
              AllOf(HasSubstr(file_.string()), HasSubstr("readers take at most 134217728")));
  EXPECT_EQ(std::filesystem::file_size(file_), kMostFileBytes);
}

TEST(Records, FullDiskIsNamed) {
  EXPECT_THAT(message_of([&] { RecordWriter("/dev/full", kHeader); }),
              AllOf(HasSubstr("/dev/full"), HasSubstr("No space left on device"), HasSubstr("ENOSPC")));
}

TEST_F(RecordsTest, AShortWriteIsTakenBack) {
  RecordWriter writer(file_, kHeader);
  const std::string before = content();

  // A limit on the file's size inside the next record makes write(2) write less than asked for.
  rlimit old_limit{};
  ASSERT_EQ(::getrlimit(RLIMIT_FSIZE, &old_limit), 0);
  rlimit limit = old_limit;
  limit.rlim_cur = before.size() + 5;
  const auto old_handler = std::signal(SIGXFSZ, SIG_IGN);
  ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &limit), 0);
  const std::string message = message_of([&] { writer.append(example::parity()); });
  ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &old_limit), 0);
  std::signal(SIGXFSZ, old_handler);

  EXPECT_THAT(message,
              AllOf(HasSubstr(file_.string()), HasSubstr("only 5 of "), HasSubstr("last whole record")));
  EXPECT_EQ(content(), before);
}

TEST_F(RecordsTest, TextThatIsNotUtf8IsReplaced) {
  Json record = example::decode();
  record["device_kind"] = "cuda";
  record["text"] = "caf\xc3";
  RecordWriter(file_, kHeader).append(record);
  EXPECT_EQ(measurements(file_).at(0)["text"], "caf\xef\xbf\xbd");
}

TEST(Records, TheRecordsKeptAreValid) {
  std::size_t records = 0;
  for (const auto& file : std::filesystem::directory_iterator(M40LLM_RESULTS)) {
    if (file.path().extension() != ".jsonl") continue;
    for (const RunRecords& run : read_records(file.path()).runs) records += run.records.size();
  }
  EXPECT_GT(records, 1000U);
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
