#pragma once
#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <nlohmann/json.hpp>

/// Records of runs: JSON Lines by results/schema.json. A file holds one or more runs, each a header, its
/// measurements and an end.
namespace m40llm::bench {

using Json = nlohmann::ordered_json;

inline constexpr int kSchemaVersion = 1;

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

/// Appends records to one file. Every record is one write(2) of one line, so that a run cut short leaves
/// whole records and at most one torn line.
class RecordWriter {
 public:
  /// Opens for appending, making the folders that are missing. A torn last line that an earlier run left is
  /// cut off, and said on stderr. Throws Error naming the path and what the system said.
  explicit RecordWriter(const std::filesystem::path& path);
  RecordWriter(const RecordWriter&) = delete;
  RecordWriter& operator=(const RecordWriter&) = delete;
  /// Leaves no empty file behind.
  ~RecordWriter();

  /// Throws Error naming the file and the system's error if the record could not be written whole; the file
  /// is then cut back to the last whole record.
  void append(const Json& record);
  /// Brings what was appended to the disk: at the end of a group of cases. Throws Error.
  void sync();

  const std::filesystem::path& path() const { return path_; }
  /// Records appended by this writer.
  std::size_t count() const { return count_; }

 private:
  std::filesystem::path path_;
  int file_ = -1;
  std::size_t count_ = 0;
};

struct Records {
  std::vector<Json> records;
  /// What was dropped at the end of the file and why; empty if nothing was.
  std::optional<std::string> dropped;
};

/// Reads a file of records. A last line without its newline is torn and dropped. Throws Error naming file and
/// line when a line before that is not a JSON object with a "kind", or when the file cannot be read or was
/// written by another version of the schema.
Records read_records(const std::filesystem::path& path);

}  // namespace m40llm::bench
