// Writers that race for one file, many of them killed at a random moment: every record whose append()
// returned is there, with its own run, and every line but a torn last one is whole. M40LLM_RACE_ROUNDS makes
// it longer.
#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <map>
#include <random>
#include <string>
#include <thread>

#include <gtest/gtest.h>

#include "bench/records.hpp"
#include "engine/error.hpp"
#include "tests/bench/example_records.hpp"

namespace m40llm::bench {
namespace {

constexpr std::size_t kRecordBytes = 20'000;
constexpr int kRecordsAWriter = 40;
constexpr int kWritersAtOnce = 4;
constexpr int kRoundsAFile = 20;

/// What a writer has done, seen by the parent whenever it dies.
struct Progress {
  std::atomic<int> appended;  ///< append() has returned so often
  std::atomic<int> refused;
};

std::string run_of(int writer) { return hex(0x1000 + static_cast<std::uint64_t>(writer)); }

/// A valid record of some 20 kB that says whose it is and which.
Json record(int writer, int n) {
  Json record = example::parity();
  record.erase("run");
  record["seed"] = writer;
  record["n_outputs"] = n;
  record["fault"] = std::string(kRecordBytes, static_cast<char>('a' + writer % 26));
  return record;
}

/// Tries until the file is free, then writes.
[[noreturn]] void write_records(const std::filesystem::path& file, int writer, Progress& progress) {
  for (;;) {
    try {
      RecordWriter out(file, example::header("cuda", run_of(writer)));
      for (int n = 0; n < kRecordsAWriter; ++n) {
        out.append(record(writer, n));
        progress.appended = n + 1;
      }
      ::_exit(0);
    } catch (const Error& error) {
      if (std::string(error.what()).find("another run") == std::string::npos) {
        std::fprintf(stderr, "%s\n", error.what());
        ::_exit(1);
      }
      ++progress.refused;
      std::this_thread::sleep_for(std::chrono::microseconds(200));
    }
  }
}

TEST(RecordsRace, NoneIsLostAndNoneIsAnothers) {
  const char* const asked = std::getenv("M40LLM_RACE_ROUNDS");
  const int rounds = asked != nullptr ? std::atoi(asked) : 40;
  const int writers = rounds * kWritersAtOnce;
  std::string folder = testing::TempDir() + "m40llm-race-XXXXXX";
  ASSERT_NE(::mkdtemp(folder.data()), nullptr);
  const auto file_of = [&](int round) {
    return std::filesystem::path(folder) / (std::to_string(round / kRoundsAFile) + ".jsonl");
  };
  void* const shared = ::mmap(nullptr, sizeof(Progress) * static_cast<std::size_t>(writers),
                              PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  ASSERT_NE(shared, MAP_FAILED);
  auto* const progress = static_cast<Progress*>(shared);
  std::mt19937 random(7);
  int killed = 0;
  int torn = 0;
  for (int round = 0; round < rounds; ++round) {
    const std::filesystem::path file = file_of(round);
    if (round % 2 == 1) {  // as a machine that stops in the middle of a write leaves it
      const std::string line = record(0, 0).dump();
      std::ofstream(file, std::ios::app) << line.substr(0, 1 + random() % line.size());
      ++torn;
    }
    std::vector<pid_t> children;
    for (int i = 0; i < kWritersAtOnce; ++i) {
      const int writer = round * kWritersAtOnce + i;
      children.push_back(::fork());
      if (children.back() == 0) {
        std::freopen("/dev/null", "w", stderr);  // notes on torn lines
        write_records(file, writer, progress[writer]);
      }
    }
    for (std::size_t i = 0; i + 1 < children.size(); ++i) {  // the last one may finish
      std::this_thread::sleep_for(std::chrono::microseconds(random() % 4000));
      ::kill(children[i], SIGKILL);
    }
    for (const pid_t child : children) {
      int status = 0;
      ASSERT_EQ(::waitpid(child, &status, 0), child);
      killed += WIFSIGNALED(status) ? 1 : 0;
      EXPECT_TRUE(WIFSIGNALED(status) || WEXITSTATUS(status) == 0);
    }
  }

  std::map<std::string, std::vector<nlohmann::json>> by_id;
  for (int round = 0; round < rounds; round += kRoundsAFile) {
    // Every line is whole and valid, but perhaps the last.
    for (RunRecords& run : read_records(file_of(round)).runs)
      by_id[run.header["run"]] = std::move(run.records);
  }
  int promised = 0;
  int found = 0;
  int lost = 0;
  int misattributed = 0;
  int refused = 0;
  for (int writer = 0; writer < writers; ++writer) {
    refused += progress[writer].refused;
    const int appended = progress[writer].appended;
    promised += appended;
    const std::vector<nlohmann::json>& records = by_id[run_of(writer)];
    found += static_cast<int>(records.size());
    for (std::size_t n = 0; n < records.size(); ++n)
      misattributed += records[n]["seed"] == writer && records[n]["n_outputs"] == n ? 0 : 1;
    lost += std::max(0, appended - static_cast<int>(records.size()));
    EXPECT_LE(records.size(),
              static_cast<std::size_t>(appended) + 1);  // written, and killed before it was told
  }
  std::printf(
      "%d writers, %d killed, %d torn lines, %d times refused; %d records promised, %d found, %d lost, %d "
      "misattributed\n",
      writers, killed, torn, refused, promised, found, lost, misattributed);
  EXPECT_EQ(lost, 0);
  EXPECT_EQ(misattributed, 0);
  EXPECT_GT(killed, rounds / 2);
  EXPECT_GT(refused, rounds);
  EXPECT_GT(promised, rounds * kRecordsAWriter / 2);
  ::munmap(shared, sizeof(Progress) * static_cast<std::size_t>(writers));
  std::filesystem::remove_all(folder);
}

}  // namespace
}  // namespace m40llm::bench
