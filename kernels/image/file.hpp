#pragma once
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>

/// Files, whole.
namespace m40llm::image {

/// A file's bytes, or nothing if it is not there or not to be read.
std::optional<std::string> read_file(const std::filesystem::path& path);

/// Writes the file beside itself and renames it, so that it is there whole or as it was; leaves a file that
/// holds the same alone, so that nothing that depends on it is rebuilt. Throws std::runtime_error when it cannot.
void write_if_changed(const std::filesystem::path& path, std::string_view bytes);

}  // namespace m40llm::image
