#pragma once
#include <cstddef>
#include <filesystem>
#include <string>
#include <string_view>

#include <nlohmann/json_fwd.hpp>

/// Reading JSON that somebody else has written: with limits, and with errors that name the place.
namespace m40llm::bench {

/// The bytes of a regular file. Never waits, and never reads on and on: throws Error naming the file and what
/// is wrong when it cannot be read, is a folder, a pipe or a device, or has more than `most_bytes`.
std::string read_file(const std::filesystem::path& path, std::size_t most_bytes);

/// Parses JSON nested at most 32 deep, so that no later walk over it can use up the stack. Throws Error
/// beginning with `where`.
nlohmann::json parse_json(std::string_view text, const std::string& where);

/// The beginning of a text from a file, as one printable line for a message.
std::string excerpt(std::string_view text);

}  // namespace m40llm::bench
