#pragma once
#include <string>
#include <string_view>

namespace m40llm {

/// Bytes that a file or a user gave, for a message: what a terminal would obey or could not show becomes \xNN,
/// byte by byte (control characters, those that reorder or hide text, what is not UTF-8), a backslash becomes
/// two; all other text stays.
[[nodiscard]] std::string printable(std::string_view text);

/// The same of a whole message, some of whose parts printable() may have shown already: a backslash stays one.
[[nodiscard]] std::string printable_message(std::string_view text);

/// printable() of the first 80 bytes or so, in single quotes; "..." says that there is more.
[[nodiscard]] std::string in_quotes(std::string_view text);

}  // namespace m40llm
