#include "bench/json_file.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include <nlohmann/json.hpp>

#include "bench/descriptor.hpp"
#include "engine/error.hpp"

namespace m40llm::bench {
namespace {

constexpr int kMostNesting = 32;
constexpr std::size_t kExcerptBytes = 60;

/// How deep brackets are nested, outside strings.
int nesting(std::string_view text) {
  int depth = 0;
  int deepest = 0;
  bool in_string = false;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (in_string) {
      if (c == '\\') ++i;
      if (c == '"') in_string = false;
    } else if (c == '"') {
      in_string = true;
    } else if (c == '[' || c == '{') {
      deepest = std::max(deepest, ++depth);
    } else if (c == ']' || c == '}') {
      --depth;
    }
  }
  return deepest;
}

}  // namespace

std::string read_file(const std::filesystem::path& path, std::size_t most_bytes) {
  const auto refuse = [&](const std::string& why) {
    throw Error("cannot read '" + path.string() + "': " + why);
  };
  // Without O_NONBLOCK, opening a pipe waits for a writer.
  const Descriptor file(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY));
  if (file.get() < 0) refuse(system_message(errno));
  struct stat status {};
  if (::fstat(file.get(), &status) != 0) refuse(system_message(errno));
  if (S_ISDIR(status.st_mode)) refuse("it is a folder; expected a file");
  if (!S_ISREG(status.st_mode)) refuse("it is a pipe or a device; expected a regular file");
  std::string text;
  for (;;) {
    // By what is read and not by the size: a file may grow, and those of /proc have none.
    if (text.size() > most_bytes)
      refuse("it has more than the " + std::to_string(most_bytes) + " bytes allowed");
    const std::size_t have = text.size();
    const std::size_t left = static_cast<std::size_t>(std::max<off_t>(0, status.st_size));
    text.resize(have + std::clamp<std::size_t>(left > have ? left - have + 1 : 0, 65536, 1 << 24));
    const ssize_t n = ::read(file.get(), text.data() + have, text.size() - have);
    const int failure = errno;
    text.resize(have + static_cast<std::size_t>(std::max<ssize_t>(0, n)));
    if (n < 0 && failure != EINTR) refuse(system_message(failure));
    if (n == 0) return text;
  }
}

nlohmann::json parse_json(std::string_view text, const std::string& where) {
  if (text.starts_with("\xEF\xBB\xBF"))  // which the parser would skip, and others do not
    throw Error(where + " is not JSON at byte 1: it is a byte order mark");
  if (const int depth = nesting(text); depth > kMostNesting) {
    throw Error(where + " nests brackets " + std::to_string(depth) + " deep; expected at most " +
                std::to_string(kMostNesting));
  }
  try {
    return nlohmann::json::parse(text);
  } catch (const nlohmann::json::parse_error& error) {
    throw Error(where + " is not JSON at byte " + std::to_string(error.byte) + ": '" + excerpt(text) + "'");
  } catch (const nlohmann::json::exception&) {  // a number that no double holds
    throw Error(where + " has a number out of range: '" + excerpt(text) + "'");
  }
}

std::string excerpt(std::string_view text) {
  std::string shown(text.substr(0, kExcerptBytes));
  std::ranges::replace_if(
      shown, [](char c) { return c < ' ' || c > '~'; }, '?');
  return text.size() > kExcerptBytes ? shown + "..." : shown;
}

}  // namespace m40llm::bench
