#pragma once
#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "bench/records.hpp"

namespace m40llm::bench {

/// Hashes of outputs that other runs recorded, and what comparing this run's with them gave. Equal bits are
/// equal, whatever made them. Bits that differ are *stale* where the kernels' source, the launch or (within
/// one arch of image) the compiler differs too; where none of them does, they are *different*. Another device
/// or arch excuses nothing: the same bits are what the kernels promise.
class Evidence {
 public:
  enum class Finding { equal, different, stale, not_recorded };

  /// Reads the files given to --against. Throws Error as read_records() does.
  explicit Evidence(const std::vector<std::string>& files);

  /// Looks up the outputs of one of this run's records, parity (one output, if its variant is bit-exact) or
  /// decode (one a step); `header` is this run's. The worst finding of them.
  Finding compare(const Json& header, const Json& record);

  /// Nothing differs, and something was equal: a comparison that met nothing shows nothing.
  bool passed() const { return different_ == 0 && equal_ != 0; }
  /// "hashes: 3 equal, 0 different, 1 stale, ...", and where nothing was equal, that this fails.
  std::string text() const;
  /// The counts, for the end record.
  Json json() const;

 private:
  /// What the bits may depend on.
  struct Origin {
    std::string source_hash, arch, compiler, launch;
    auto operator<=>(const Origin&) const = default;
  };
  struct Output {
    std::string key;  ///< what must be the same for hashes to be comparable
    std::string hash;
  };
  static Origin origin(const nlohmann::json& header, const nlohmann::json& record);
  static std::vector<Output> outputs(const nlohmann::json& record);
  static bool excused(const Origin& a, const Origin& b);
  Finding find(const Output& output, const Origin& mine) const;

  std::map<std::string, std::map<Origin, std::vector<std::string>>> known_;  ///< key, origin: hashes
  std::size_t equal_ = 0, different_ = 0, stale_ = 0, not_recorded_ = 0;
};

}  // namespace m40llm::bench
