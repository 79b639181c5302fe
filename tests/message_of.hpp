#pragma once
#include <string>

#include "engine/error.hpp"

namespace m40llm {

/// What the Failure says that the action throws.
template <class Failure = Error>
std::string message_of(const auto& action) {
  try {
    action();
  } catch (const Failure& failure) {
    return failure.what();
  }
  return "(no error)";
}

}  // namespace m40llm
