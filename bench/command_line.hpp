#pragma once
#include <functional>
#include <initializer_list>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace m40llm::bench {

/// A program's flags and the variables they are read into, which must outlive it. CLI11 stands behind it alone,
/// which takes longer to compile than any program that uses it.
class CommandLine {
 public:
  CommandLine(const std::string& description, const std::string& program);
  ~CommandLine();

  // In the order of --help, which shows `type` for the value, and the variable's own for the default unless that
  // is empty or 0.
  void flag(const std::string& name, bool& value, const std::string& description);
  void text(const std::string& name, std::string& value, const std::string& description,
            const std::string& type);
  /// Repeatable, a value each time.
  void texts(const std::string& name, std::vector<std::string>& values, const std::string& description,
             const std::string& type);
  /// A file's name, not an empty one.
  void file(const std::string& name, std::string& value, const std::string& description);
  /// From 1 to `most`.
  void count(const std::string& name, int& value, int most, const std::string& description);
  /// `read` gets what is given, and may throw UsageError.
  void parsed(const std::string& name, const std::function<void(const std::string& text)>& read,
              const std::string& description, const std::string& type, const std::string& default_text);

  /// What is added from here on stands under this title in --help.
  void group(const std::string& title);
  /// Shown at the end of --help.
  void footer(const std::string& text);
  /// `name` cannot be given with any of `others`.
  void exclude(const std::string& name, std::initializer_list<const char*> others);

  /// Reads the command line, program's name first, into the variables. An exit code when there is nothing more to
  /// do (--help was printed); throws UsageError on anything it does not know.
  std::optional<int> parse(const std::vector<std::string>& command);
  /// The flags that were given, one for each value, as they came.
  std::vector<std::string> given() const;

 private:
  struct Parser;
  std::unique_ptr<Parser> parser_;
};

}  // namespace m40llm::bench
