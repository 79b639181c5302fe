#include "bench/records.hpp"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <map>
#include <sstream>
#include <system_error>

#include "bench/json_file.hpp"
#include "bench/output_file.hpp"
#include "bench/record_schema.hpp"
#include "engine/error.hpp"
#include "engine/printable.hpp"

namespace m40llm::bench {
namespace {

Json figure(double value, std::string_view status) {
  if (!std::isfinite(value)) return unavailable("not a finite number");
  return {{"value", value}, {"status", status}};
}

/// What a records file begins with; behind it stands the version.
constexpr std::string_view kFirstBytes = R"({"kind":"header","schema_version":)";
/// What each of its lines begins with.
constexpr std::string_view kRecordBytes = R"({"kind":")";

/// The process that holds the lock on a file, as " (process 123)"; empty where the system does not tell.
std::string holder_of(const struct stat& file) {
  char id[64];
  std::snprintf(id, sizeof id, " %02x:%02x:%llu ", major(file.st_dev), minor(file.st_dev),
                static_cast<unsigned long long>(file.st_ino));
  std::ifstream locks("/proc/locks");  // "7: FLOCK  ADVISORY  WRITE 123 00:2f:456 0 EOF"
  for (std::string line; std::getline(locks, line);) {
    std::string number, type, mode, access, pid;
    if (line.find(id) == std::string::npos) continue;
    std::istringstream(line) >> number >> type >> mode >> access >> pid;
    if (type == "FLOCK") return " (process " + pid + ")";
  }
  return "";
}

/// Opened for appending, without waiting for whoever reads a pipe; `made`: it was not there before.
int open_for_appending(const std::filesystem::path& path, bool& made) {
  struct stat status {};
  const bool exists = ::stat(path.c_str(), &status) == 0;
  const int flags = O_APPEND | O_CLOEXEC | O_NOCTTY | O_NONBLOCK;
  if (exists && !S_ISREG(status.st_mode)) return ::open(path.c_str(), O_WRONLY | flags);
  const int file = exists ? -1 : ::open(path.c_str(), O_RDWR | O_CREAT | O_EXCL | flags, 0644);
  made = file >= 0;
  // Not made: another run was faster, or a link leads to where nothing is yet.
  return made ? file : ::open(path.c_str(), O_RDWR | O_CREAT | flags, 0644);
}

/// Where the last line of a regular file's `size` bytes begins if it has no newline; `size` if it has one.
off_t end_of_whole_lines(int file, off_t size) {
  std::array<char, 4096> chunk;
  off_t end = size;
  while (end > 0) {
    const off_t begin = end > static_cast<off_t>(chunk.size()) ? end - static_cast<off_t>(chunk.size()) : 0;
    const ssize_t n = ::pread(file, chunk.data(), static_cast<std::size_t>(end - begin), begin);
    if (n != end - begin) return size;
    for (ssize_t i = n; i > 0; --i) {
      if (chunk[static_cast<std::size_t>(i - 1)] == '\n') return begin + i;
    }
    end = begin;
  }
  return 0;
}

}  // namespace

Json number(double value) {
  if (std::isnan(value)) return "nan";
  if (std::isinf(value)) return value > 0 ? "inf" : "-inf";
  return value;
}

Json measured(double value) { return figure(value, "measured"); }

Json modelled(double value, std::string_view how) {
  Json json = figure(value, "modelled");
  if (!how.empty() && json["status"] == "modelled") json["reason"] = how;
  return json;
}

Json unavailable(std::string_view reason) {
  return {{"value", nullptr}, {"status", "unavailable"}, {"reason", reason}};
}

Json named(const std::vector<std::pair<std::string, int>>& sizes) {
  Json json = Json::object();
  for (const auto& [name, size] : sizes) json[name] = size;
  return json;
}

std::string hex(std::uint64_t value) {
  std::array<char, 17> digits;
  std::snprintf(digits.data(), digits.size(), "%016llx", static_cast<unsigned long long>(value));
  return digits.data();
}

RecordWriter::RecordWriter(const std::filesystem::path& path, const Json& header)
    : path_(path), run_(header.at("run")) {
  if (path.has_parent_path()) {
    std::error_code error;
    std::filesystem::create_directories(path.parent_path(), error);
    if (error) {
      throw Error("cannot make the folder '" + path.parent_path().string() +
                  "' for records: " + system_message(error.value()));
    }
  }
  bool made = false;
  file_ = Descriptor(open_for_appending(path, made));
  struct stat status {};
  if (file_.get() < 0 || ::fstat(file_.get(), &status) != 0)
    throw Error("cannot open '" + path.string() + "' for records: " + system_message(errno));
  if (S_ISBLK(status.st_mode))
    throw Error("cannot open '" + path.string() + "' for records: it is a block device");
  if (is_console(file_.get(), status)) {
    throw Error("cannot write records to '" + path.string() +
                "': this program's own output goes there; expected another file");
  }
  ::fcntl(file_.get(), F_SETFL, O_APPEND);  // from here on writes may wait
  regular_ = S_ISREG(status.st_mode);
  if (regular_) {
    lock();
    check_content();
    if (::fstat(file_.get(), &status) != 0)
      throw Error("cannot open '" + path.string() + "' for records: " + system_message(errno));
    size_ = status.st_size;
  }
  try {
    write_line(header);
  } catch (...) {
    if (made && size_ == 0) ::unlink(path.c_str());  // it holds no record
    throw;
  }
}

void RecordWriter::lock() {
  int result = 0;
  do {
    result = ::flock(file_.get(), LOCK_EX | LOCK_NB);
  } while (result != 0 && errno == EINTR);
  if (result == 0) return;
  if (errno != EWOULDBLOCK)
    throw Error("cannot lock '" + path_.string() + "' for records: " + system_message(errno));
  struct stat status {};
  ::fstat(file_.get(), &status);
  throw Error("another run" + holder_of(status) + " is writing its records to '" + path_.string() +
              "'; expected a file of this run's own");
}

/// Under the lock: what stands in the file are records of this version, and its last line is whole.
void RecordWriter::check_content() {
  const auto refuse = [this](const std::string& why) {
    throw Error("cannot append records to '" + path_.string() + "': " + why);
  };
  struct stat status {};
  if (::fstat(file_.get(), &status) != 0) refuse(system_message(errno));
  std::string begin(kFirstBytes.size() + 16, '\0');
  const ssize_t n = ::pread(file_.get(), begin.data(), begin.size(), 0);
  if (n < 0) refuse(system_message(errno));
  begin.resize(static_cast<std::size_t>(n));
  if (begin.substr(0, kFirstBytes.size()) != kFirstBytes.substr(0, begin.size()))
    refuse("it holds something else, beginning '" + excerpt(begin) + "'");
  const std::string expected = std::to_string(kSchemaVersion) + ",";
  const std::string version = begin.size() > kFirstBytes.size() ? begin.substr(kFirstBytes.size()) : "";
  if (version.substr(0, expected.size()) != expected.substr(0, version.size())) {
    refuse("its records have schema_version " + excerpt(version.substr(0, version.find(','))) +
           ", expected " + std::to_string(kSchemaVersion));
  }
  const off_t whole = end_of_whole_lines(file_.get(), status.st_size);
  if (whole > 0) {
    std::string last_whole(kRecordBytes.size(), '\0');
    const off_t at = end_of_whole_lines(file_.get(), whole - 1);
    if (::pread(file_.get(), last_whole.data(), last_whole.size(), at) < 0) refuse(system_message(errno));
    if (last_whole != kRecordBytes)
      refuse("its last line is no record, beginning '" +
             excerpt(last_whole.substr(0, last_whole.find('\n'))) + "'");
  }
  if (whole == status.st_size) return;
  std::string last(static_cast<std::size_t>(std::min<off_t>(status.st_size - whole, kMostLineBytes)), '\0');
  if (::pread(file_.get(), last.data(), last.size(), whole) != static_cast<ssize_t>(last.size()))
    refuse("its last line cannot be read");
  // No record holds one: what is torn was not written by a run.
  if (last.find('\r') != std::string::npos) {
    refuse("its last line has no newline but carriage returns; expected lines that end with a newline");
  }
  if (last.front() == '{' && nlohmann::json::accept(last)) {
    if (!last.starts_with(kRecordBytes))
      refuse("its last line is no record, beginning '" + excerpt(last) + "'");
    // An editor took the newline, and that alone.
    if (::write(file_.get(), "\n", 1) != 1)
      refuse("the newline that its last line lacks cannot be written: " + system_message(errno));
    std::fprintf(stderr, "note: '%s' ended in a whole record without a newline, which was added\n",
                 printable(path_.string()).c_str());
    return;
  }
  if (::ftruncate(file_.get(), whole) != 0)
    refuse("its torn last line cannot be cut off: " + system_message(errno));
  std::fprintf(stderr, "note: '%s' ended in a torn line of %lld bytes, cut off\n",
               printable(path_.string()).c_str(), static_cast<long long>(status.st_size - whole));
}

void RecordWriter::append(const Json& record) {
  Json labelled{{"kind", record.at("kind")}, {"run", run_}};
  labelled.update(record);
  labelled["run"] = run_;
  write_line(labelled);
}

void RecordWriter::write_line(const Json& record) {
  // Text from a model may end inside a UTF-8 sequence: replaced rather than refused.
  const std::string line = record.dump(-1, ' ', false, Json::error_handler_t::replace) + '\n';
  const auto refuse = [this](const std::string& why) {
    throw Error("cannot write a record to '" + path_.string() + "': " + why);
  };
  if (line.size() > kMostLineBytes)
    refuse("it has " + std::to_string(line.size()) + " bytes, and readers take at most " +
           std::to_string(kMostLineBytes));
  if (regular_) {
    struct stat before {};
    if (::fstat(file_.get(), &before) != 0) refuse(system_message(errno));
    expect_size(before.st_size);
    if (const std::size_t after = static_cast<std::size_t>(size_) + line.size(); after > kMostFileBytes)
      refuse("the file would have " + std::to_string(after) + " bytes, and readers take at most " +
             std::to_string(kMostFileBytes) + "; expected another file");
  }
  ssize_t written = 0;
  do {
    written = ::write(file_.get(), line.data(), line.size());
  } while (written < 0 && errno == EINTR);
  if (written == static_cast<ssize_t>(line.size())) {
    size_ += written;
    ++count_;
    return;
  }
  const std::string why = written < 0
                              ? system_message(errno)
                              : "only " + std::to_string(written) + " of " + std::to_string(line.size()) +
                                    " bytes were written: is the disk full?";
  std::string left;
  if (regular_) {
    left = ::ftruncate(file_.get(), size_) == 0 ? "; the file ends with its last whole record"
                                                : "; its last line is torn";
  }
  refuse(why + left);
}

void RecordWriter::expect_size(off_t found) const {
  if (found == size_) return;
  throw Error("another program changed the records file '" + path_.string() +
              "' while this run was writing it: it has " + std::to_string(found) + " bytes, expected " +
              std::to_string(size_));
}

void RecordWriter::sync() {
  // EINVAL: a pipe or a terminal, which have nothing to sync.
  if (::fsync(file_.get()) != 0 && errno != EINVAL && errno != EROFS) {
    throw Error("cannot bring '" + path_.string() + "' to the disk: " + system_message(errno));
  }
  if (!regular_) return;
  struct stat mine {
  }, named{};
  if (::fstat(file_.get(), &mine) != 0 || ::stat(path_.c_str(), &named) != 0 || mine.st_dev != named.st_dev ||
      mine.st_ino != named.st_ino) {
    throw Error("the records file '" + path_.string() +
                "' was removed or replaced while this run was writing it");
  }
  expect_size(mine.st_size);
}

namespace {

struct Line {
  std::string where;
  nlohmann::json record;
};

/// The whole lines of a text, each a record; `dropped` says what was left out at its end.
std::vector<Line> read_lines(const std::string& text, const std::string& file,
                             std::optional<std::string>& dropped) {
  std::vector<Line> lines;
  std::size_t begin = 0;
  for (std::size_t n = 1; begin < text.size(); ++n) {
    const std::string where = "'" + file + "' line " + std::to_string(n);
    const std::size_t end = text.find('\n', begin);
    const std::string_view line =
        std::string_view(text).substr(begin, end == std::string::npos ? end : end - begin);
    if (end == std::string::npos) {
      dropped =
          where + " is torn (" + std::to_string(line.size()) + " bytes without a newline) and was dropped";
      break;
    }
    begin = end + 1;
    if (line.size() > kMostLineBytes)
      throw Error(where + " has " + std::to_string(line.size()) + " bytes; a record has at most " +
                  std::to_string(kMostLineBytes));
    nlohmann::json record = parse_json(line, where);
    if (record.is_object() && record.value("kind", nlohmann::json()) == "header" &&
        record.value("schema_version", nlohmann::json()) != kSchemaVersion) {
      throw Error(where + " has schema_version " +
                  excerpt(record.value("schema_version", nlohmann::json()).dump(-1, ' ', true)) +
                  ", expected " + std::to_string(kSchemaVersion));
    }
    if (const std::string fault = record_fault(record); !fault.empty())
      throw Error(where + " is not a record: " + fault + " in '" + excerpt(line) + "'");
    lines.push_back({where, std::move(record)});
  }
  return lines;
}

}  // namespace

Records read_records(const std::filesystem::path& path) {
  Records result;
  std::vector<Line> lines = read_lines(read_file(path, kMostFileBytes), path.string(), result.dropped);
  std::map<std::string, std::size_t> by_id;
  for (Line& line : lines) {
    if (line.record["kind"] != "header") continue;
    const std::string id = line.record["run"];
    if (!by_id.emplace(id, result.runs.size()).second)
      throw Error(line.where + ": run " + id + " begins a second time");
    result.runs.push_back({std::move(line.record), {}, nullptr});
  }
  std::map<std::string, std::string> ends;  // where they stand
  for (Line& line : lines) {
    if (line.record.is_null()) continue;  // a header
    const std::string id = line.record["run"];
    const auto run = by_id.find(id);
    if (run == by_id.end()) throw Error(line.where + ": run " + id + " has no header");
    RunRecords& its = result.runs[run->second];
    if (line.record["device_kind"] != its.header["device_kind"])
      throw Error(line.where + ": device_kind is not that of its run's header");
    if (line.record["kind"] != "end") {
      its.records.push_back(std::move(line.record));
      continue;
    }
    if (!ends.emplace(id, line.where).second) throw Error(line.where + ": run " + id + " ends a second time");
    its.end = std::move(line.record);
  }
  for (const auto& [id, where] : ends) {
    const RunRecords& its = result.runs[by_id.at(id)];
    const std::size_t found = its.records.size() + 1;  // with the header
    if (its.end["records"] != found) {
      throw Error(where + ": run " + id + " wrote " + its.end["records"].dump() + " records, and " +
                  std::to_string(found) + " are here: some were lost or are there twice");
    }
  }
  if (result.runs.empty())
    throw Error("'" + path.string() + "' holds no records" + (result.dropped ? ": " + *result.dropped : ""));
  return result;
}

}  // namespace m40llm::bench
