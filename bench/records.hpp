#pragma once
#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <nlohmann/json.hpp>

#include "bench/descriptor.hpp"

/// Records of runs: JSON Lines by results/schema.json. A file holds one or more runs, each a header, its
/// measurements and an end, joined by the id of the run that stands on each of them.
namespace m40llm::bench {

using Json = nlohmann::ordered_json;

inline constexpr int kSchemaVersion = 2;

/// JSON has no infinity and no NaN: a number, or one of the strings "inf", "-inf", "nan".
Json number(double value);
/// "measured", and "modelled": a figure with its status. A figure made of both kinds is modelled.
Json measured(double value);
Json modelled(double value, std::string_view how = {});
/// A figure that could not be had, and why.
Json unavailable(std::string_view reason);
/// Named sizes, such as a shape, as an object in their order.
Json named(const std::vector<std::pair<std::string, int>>& sizes);
/// 64 bits as 16 hexadecimal digits.
std::string hex(std::uint64_t value);

/// The most that readers take: of a file, and of a line of it.
inline constexpr std::size_t kMostFileBytes = std::size_t{128} << 20;
inline constexpr std::size_t kMostLineBytes = std::size_t{16} << 20;

/// Appends the records of one run to a file: its header when it is opened, then each record with the run's
/// id. Every record is one write(2) of one line, so that a run cut short leaves whole records and at most one
/// torn line. A regular file is locked (flock) for the writer's life: a second writer is refused, whoever it
/// is, and nobody cuts or deletes what another may be writing.
class RecordWriter {
 public:
  /// Opens for appending, making the folders that are missing. Cuts off a torn last line that an earlier run
  /// left, or ends it if only its newline is missing, and says so on stderr. Throws Error naming the path when it cannot be opened or written, another
  /// process holds it, it is this process's stdout or stderr or a terminal, or it holds anything but records
  /// of this version. `header` has a "run".
  RecordWriter(const std::filesystem::path& path, const Json& header);

  /// Adds "run" behind the kind. Throws Error naming the file and the system's error if the record could not
  /// be written whole; the file is then cut back to the last whole record. Throws Error and writes nothing if
  /// no reader would take the record or the file with it, or another program changed the file's size.
  void append(const Json& record);
  /// Brings what was appended to the disk: at the end of a group of cases. Throws Error, also if the file was
  /// removed, replaced, cut or added to meanwhile: the records would be lost.
  void sync();

  const std::filesystem::path& path() const { return path_; }
  /// Records appended by this writer, header included.
  std::size_t count() const { return count_; }

 private:
  void lock();
  void check_content();
  void write_line(const Json& record);
  /// Of the regular file. Throws Error unless it has the size that this writer left.
  void expect_size(off_t found) const;

  std::filesystem::path path_;
  Descriptor file_;
  bool regular_ = false;
  off_t size_ = 0;  ///< of a regular file, as this writer left it
  Json run_;
  std::size_t count_ = 0;
};

/// One run out of a file: what carries its id.
struct RunRecords {
  nlohmann::json header;
  std::vector<nlohmann::json> records;
  nlohmann::json end;  ///< null: the run was cut short
};
struct Records {
  std::vector<RunRecords> runs;  ///< in the order of their headers
  /// What was dropped at the end of the file and why; empty if nothing was.
  std::optional<std::string> dropped;
};

/// Reads a file of records, each valid by results/schema.json, and gives every run its own. A last line
/// without its newline is torn and dropped. Throws Error naming file, line and field when a line before that
/// is no record, belongs to no run of the file, or was written by another version of the schema; and when the
/// file cannot be read, is no regular one, has no run in it, or is larger than a records file gets (128 MiB,
/// 16 MiB a line).
Records read_records(const std::filesystem::path& path);

}  // namespace m40llm::bench
