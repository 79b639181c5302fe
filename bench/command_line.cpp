#include "bench/command_line.hpp"

#include <iostream>

#include <CLI/CLI.hpp>

#include "engine/error.hpp"

namespace m40llm::bench {

struct CommandLine::Parser {
  CLI::App app;
  std::string group = "Options";

  CLI::Option& as(CLI::Option* option, const std::string& type) const {
    return *option->type_name(type)->group(group);
  }
};

CommandLine::CommandLine(const std::string& description, const std::string& program)
    : parser_(new Parser{CLI::App(description, program)}) {}
CommandLine::~CommandLine() = default;

void CommandLine::flag(const std::string& name, bool& value, const std::string& description) {
  parser_->app.add_flag(name, value, description)->group(parser_->group);
}

void CommandLine::text(const std::string& name, std::string& value, const std::string& description,
                       const std::string& type) {
  CLI::Option& option = parser_->as(parser_->app.add_option(name, value, description), type);
  if (!value.empty()) option.capture_default_str();
}

void CommandLine::texts(const std::string& name, std::vector<std::string>& values,
                        const std::string& description, const std::string& type) {
  parser_->as(parser_->app.add_option(name, values, description), type).allow_extra_args(false);
}

void CommandLine::file(const std::string& name, std::string& value, const std::string& description) {
  parser_->as(parser_->app.add_option(name, value, description), "FILE").check([](const std::string& file) {
    return std::string(file.empty() ? "a file's name is expected" : "");
  });
}

void CommandLine::count(const std::string& name, int& value, int most, const std::string& description) {
  CLI::Option& option = parser_->as(parser_->app.add_option(name, value, description), "N");
  option.check(CLI::Range(1, most));
  if (value != 0) option.capture_default_str();
}

void CommandLine::parsed(const std::string& name, const std::function<void(const std::string& text)>& read,
                         const std::string& description, const std::string& type,
                         const std::string& default_text) {
  parser_->as(parser_->app.add_option_function<std::string>(name, read, description), type)
      .default_str(default_text);
}

void CommandLine::group(const std::string& title) { parser_->group = title; }

void CommandLine::footer(const std::string& text) { parser_->app.footer(text); }

void CommandLine::exclude(const std::string& name, std::initializer_list<const char*> others) {
  CLI::Option* const option = parser_->app.get_option(name);
  for (const char* other : others) option->excludes(parser_->app.get_option(other));
}

std::optional<int> CommandLine::parse(const std::vector<std::string>& command) {
  std::vector<std::string> words;
  for (std::size_t i = 1; i < command.size(); ++i) {
    const std::string& word = command[i];
    // CLI11 would take the next word for the value of "--name=".
    if (word.starts_with("--") && word.find('=') == word.size() - 1) {
      words.push_back(word.substr(0, word.size() - 1));
      words.emplace_back();
    } else {
      words.push_back(word);
    }
  }
  std::vector<std::string> reversed(words.rbegin(), words.rend());  // CLI11 takes them from the back
  CLI::App& app = parser_->app;
  try {
    app.parse(reversed);
  } catch (const CLI::CallForHelp&) {
    std::cout << app.help();
    return 0;
  } catch (const CLI::ExtrasError&) {  // whose own text has them backwards
    std::string extra;
    for (const std::string& word : app.remaining()) extra += (extra.empty() ? "" : " ") + word;
    throw UsageError("not expected: " + extra + " (--help lists the flags)");
  } catch (const CLI::ParseError& error) {
    throw UsageError(std::string(error.what()) + " (--help lists the flags)");
  }
  return std::nullopt;
}

std::vector<std::string> CommandLine::given() const {
  std::vector<std::string> names;
  for (const CLI::Option* option : parser_->app.parse_order()) names.push_back(option->get_name());
  return names;
}

}  // namespace m40llm::bench
