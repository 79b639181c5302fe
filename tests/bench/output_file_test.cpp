// A file is written whole or stays as it was.
#include "bench/output_file.hpp"

#include <sys/resource.h>

#include <csignal>
#include <cstdlib>
#include <fstream>
#include <sstream>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "engine/error.hpp"

namespace m40llm::bench {
namespace {

using testing::AllOf;
using testing::HasSubstr;

class OutputFileTest : public testing::Test {
 protected:
  void SetUp() override {
    std::string name = testing::TempDir() + "m40llm-output-XXXXXX";
    ASSERT_NE(::mkdtemp(name.data()), nullptr);
    folder_ = name;
    file_ = folder_ / "out.json";
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }
  std::string content() const {
    std::ostringstream text;
    text << std::ifstream(file_).rdbuf();
    return text.str();
  }
  std::filesystem::path folder_, file_;
};

std::string message_of(const auto& call) {
  try {
    call();
  } catch (const Error& error) {
    return error.what();
  }
  return "no error";
}

TEST_F(OutputFileTest, NothingIsThereBeforeAndAllAfterwards) {
  const OutputFile out("--out", file_);
  EXPECT_FALSE(std::filesystem::exists(file_));
  out.write("all of it");
  EXPECT_EQ(content(), "all of it");
  std::filesystem::create_symlink(file_, folder_ / "link");
  OutputFile("--out", folder_ / "link").write("again");
  EXPECT_TRUE(std::filesystem::is_symlink(folder_ / "link"));
  EXPECT_EQ(content(), "again");
}

TEST_F(OutputFileTest, AFullDiskLeavesWhatWasThere) {
  std::ofstream(file_) << "before";
  rlimit old_limit{};
  ASSERT_EQ(::getrlimit(RLIMIT_FSIZE, &old_limit), 0);
  rlimit limit = old_limit;
  limit.rlim_cur = 100;
  const auto old_handler = std::signal(SIGXFSZ, SIG_IGN);
  ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &limit), 0);
  const std::string message = message_of([&] { OutputFile("--out", file_).write(std::string(1000, 'x')); });
  ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &old_limit), 0);
  std::signal(SIGXFSZ, old_handler);
  EXPECT_THAT(message, AllOf(HasSubstr("--out"), HasSubstr(file_.string()), HasSubstr("EFBIG")));
  EXPECT_EQ(content(), "before");
  EXPECT_EQ(std::distance(std::filesystem::directory_iterator(folder_), {}), 1);
  EXPECT_THAT(message_of([] { OutputFile("--out", "/dev/full").write("x"); }), HasSubstr("ENOSPC"));
}

TEST_F(OutputFileTest, WhatCannotBeWrittenIsRefusedBeforeTheWork) {
  EXPECT_THAT(message_of([&] { OutputFile("--out", folder_); }), HasSubstr("folder"));
  EXPECT_THAT(message_of([] { OutputFile("--out", "/nonexistent/x"); }), HasSubstr("ENOENT"));
  EXPECT_THAT(message_of([] { OutputFile("--out", "/dev/stdout"); }), AllOf(HasSubstr("own output")));
}

}  // namespace
}  // namespace m40llm::bench
