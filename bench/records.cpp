#include "bench/records.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <system_error>

#include "engine/error.hpp"

namespace m40llm::bench {
namespace {

std::string system_message(int code) {
  const char* name = strerrorname_np(code);
  return std::string(std::strerror(code)) + " (" + (name != nullptr ? name : std::to_string(code).c_str()) +
         ")";
}

Json figure(double value, std::string_view status) {
  if (!std::isfinite(value)) return unavailable("not a finite number");
  return {{"value", value}, {"status", status}};
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

RecordWriter::RecordWriter(const std::filesystem::path& path) : path_(path) {
  if (path.has_parent_path()) {
    std::error_code error;
    std::filesystem::create_directories(path.parent_path(), error);
    if (error) {
      throw Error("cannot make the folder '" + path.parent_path().string() +
                  "' for records: " + system_message(error.value()));
    }
  }
  file_ = ::open(path.c_str(), O_RDWR | O_APPEND | O_CREAT | O_CLOEXEC, 0644);
  if (file_ < 0) throw Error("cannot open '" + path.string() + "' for records: " + system_message(errno));
  struct stat status {};
  if (::fstat(file_, &status) != 0 || !S_ISREG(status.st_mode)) return;
  const off_t whole = end_of_whole_lines(file_, status.st_size);
  if (whole == status.st_size) return;
  if (::ftruncate(file_, whole) != 0) {
    const int code = errno;
    ::close(file_);
    throw Error("cannot cut the torn last line off '" + path.string() + "': " + system_message(code));
  }
  std::fprintf(stderr, "note: '%s' ended in a torn line of %lld bytes, cut off\n", path.c_str(),
               static_cast<long long>(status.st_size - whole));
}

RecordWriter::~RecordWriter() {
  struct stat status {};
  if (::fstat(file_, &status) == 0 && S_ISREG(status.st_mode) && status.st_size == 0) ::unlink(path_.c_str());
  ::close(file_);
}

void RecordWriter::append(const Json& record) {
  // Text from a model may end inside a UTF-8 sequence: replaced rather than refused.
  const std::string line = record.dump(-1, ' ', false, Json::error_handler_t::replace) + '\n';
  struct stat before {};
  const bool regular = ::fstat(file_, &before) == 0 && S_ISREG(before.st_mode);
  ssize_t written = 0;
  do {
    written = ::write(file_, line.data(), line.size());
  } while (written < 0 && errno == EINTR);
  if (written == static_cast<ssize_t>(line.size())) {
    ++count_;
    return;
  }
  const std::string why = written < 0
                              ? system_message(errno)
                              : "only " + std::to_string(written) + " of " + std::to_string(line.size()) +
                                    " bytes were written: is the disk full?";
  std::string left;
  if (regular) {
    left = ::ftruncate(file_, before.st_size) == 0 ? "; the file ends with its last whole record"
                                                   : "; its last line is torn";
  }
  throw Error("cannot write a record to '" + path_.string() + "': " + why + left);
}

void RecordWriter::sync() {
  // EINVAL: a pipe or a terminal, which have nothing to sync.
  if (::fsync(file_) != 0 && errno != EINVAL && errno != EROFS) {
    throw Error("cannot bring '" + path_.string() + "' to the disk: " + system_message(errno));
  }
}

Records read_records(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  std::error_code unknown;
  if (std::filesystem::is_directory(path, unknown))
    throw Error("cannot read records from '" + path.string() + "': it is a folder");
  if (!file) throw Error("cannot read records from '" + path.string() + "': " + system_message(errno));
  Records result;
  std::string line;
  for (std::size_t n = 1; std::getline(file, line); ++n) {
    const auto where = [&] { return "'" + path.string() + "' line " + std::to_string(n); };
    if (file.eof()) {  // no newline behind it
      result.dropped =
          where() + " is torn (" + std::to_string(line.size()) + " bytes without a newline) and was dropped";
      break;
    }
    Json record = Json::parse(line, nullptr, false);
    if (!record.is_object() || !record.contains("kind") || !record["kind"].is_string()) {
      std::string shown = line.substr(0, 60);
      std::ranges::replace_if(
          shown, [](char c) { return c < ' ' || c > '~'; }, '?');  // it may be no text
      throw Error(where() + " is not a record: expected a JSON object with a \"kind\", found '" + shown +
                  (line.size() > 60 ? "...'" : "'"));
    }
    if (record["kind"] == "header" && record.value("schema_version", Json()) != Json(kSchemaVersion)) {
      throw Error(where() + " has schema_version " + record.value("schema_version", Json()).dump() +
                  ", expected " + std::to_string(kSchemaVersion));
    }
    result.records.push_back(std::move(record));
  }
  return result;
}

}  // namespace m40llm::bench
