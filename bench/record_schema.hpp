#pragma once
#include <string>

#include <nlohmann/json_fwd.hpp>

namespace m40llm::bench {

/// What is wrong with a record by results/schema.json, as "worst.got: ..." (the field, then why); empty if it
/// is valid.
std::string record_fault(const nlohmann::json& record);

}  // namespace m40llm::bench
