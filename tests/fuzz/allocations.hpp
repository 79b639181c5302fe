#pragma once
#include <cstddef>

namespace m40llm::testing {

/// What C++ code of this program holds in memory, by operators new and delete that count.
struct Allocations {
  /// Bytes held now.
  static std::size_t held();
  /// The most since reset_peak().
  static std::size_t peak();
  static void reset_peak();
};

}  // namespace m40llm::testing
