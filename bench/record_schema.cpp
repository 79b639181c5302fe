#include "bench/record_schema.hpp"

#include <map>
#include <memory>
#include <string_view>

// Slow to compile: nowhere else.
#include <valijson/adapters/nlohmann_json_adapter.hpp>
#include <valijson/schema.hpp>
#include <valijson/schema_parser.hpp>
#include <valijson/validator.hpp>

#include "bench/json_file.hpp"
#include "bench/schema_text.hpp"  // results/schema.json, made by bench/CMakeLists.txt

namespace m40llm::bench {
namespace {

using Adapter = valijson::adapters::NlohmannJsonAdapter;

/// The schema of each kind by itself: four times as fast as asking all of them, and its errors name the
/// field.
const std::map<std::string, std::unique_ptr<valijson::Schema>>& schemas() {
  static const auto parsed = [] {
    const nlohmann::json document = nlohmann::json::parse(kSchemaText);
    std::map<std::string, std::unique_ptr<valijson::Schema>> by_kind;
    for (const std::string kind : document["properties"]["kind"]["enum"]) {
      nlohmann::json one = document["definitions"][kind];
      one["definitions"] = document["definitions"];
      auto schema = std::make_unique<valijson::Schema>();
      valijson::SchemaParser(valijson::SchemaParser::kDraft7).populateSchema(Adapter(one), *schema);
      by_kind.emplace(kind, std::move(schema));
    }
    return by_kind;
  }();
  return parsed;
}

/// "<root>", "[worst]", "[got]" is worst.got.
std::string field(const std::vector<std::string>& context) {
  std::string path;
  for (std::string_view part : context) {
    if (!part.starts_with('[') || !part.ends_with(']')) continue;  // the root
    part = part.substr(1, part.size() - 2);
    path += (path.empty() ? "" : ".") + excerpt(part);
  }
  return path;
}

}  // namespace

std::string record_fault(const nlohmann::json& record) {
  const auto kind = record.is_object() ? record.find("kind") : record.end();
  if (!record.is_object() || kind == record.end() || !kind->is_string())
    return "expected a JSON object with a \"kind\"";
  const auto schema = schemas().find(kind->get<std::string>());
  if (schema == schemas().end())
    return "kind: no kind of record is '" + excerpt(kind->get<std::string>()) + "'";
  valijson::Validator validator;
  valijson::ValidationResults results;
  if (validator.validate(*schema->second, Adapter(record), &results)) return "";
  // The errors climb from the field that is wrong to the record: the deepest says most.
  valijson::ValidationResults::Error deepest;
  for (valijson::ValidationResults::Error error; results.popError(error);) {
    if (error.context.size() > deepest.context.size()) deepest = error;
  }
  const std::string where = field(deepest.context);
  std::string why = deepest.description;
  if (why.size() > 200) why = why.substr(0, 200) + "...";
  for (char& c : why) c = c < ' ' || c > '~' ? '?' : c;  // it may quote a key
  return (where.empty() ? "" : where + ": ") + why;
}

}  // namespace m40llm::bench
