#pragma once
#include <memory>
#include <string>
#include <vector>

#include "bench/suite.hpp"
#include "engine/device/simt/simt_device.hpp"

/// The suite's own runs in different orders, compared with each other.
namespace m40llm::testing {

/// SIMT devices that differ in the order of lanes, warps and blocks, in the number of workers and in the seed.
class Orders {
 public:
  Orders() {
    const struct {
      SimtOrder order;
      unsigned workers;
      std::uint64_t seed;
    } ways[] = {{SimtOrder::ascending, 1, 0},
                {SimtOrder::descending, 2, 0},
                {SimtOrder::random, 3, 11},
                {SimtOrder::random, 4, 12}};
    for (const auto& way : ways) {
      DeviceOptions options;
      options.simt_order = way.order;
      options.simt_workers = way.workers;
      options.simt_seed = way.seed;
      devices_.push_back(open_simt_device(options));
      streams_.push_back(devices_.back()->create_stream());
    }
  }

  /// Two runs of a case that must give the same bits, and did not.
  struct Outcome {
    std::string difference;  ///< the case; empty if there is none
    int n_cases = 0;         ///< compared
  };

  /// Every variant at the shapes that take several blocks, or several warps of the only block.
  Outcome compare(const bench::Suite& suite) const {
    Outcome outcome;
    for (const bench::Sweep sweep : {bench::Sweep::smoke, bench::Sweep::edge}) {
      for (const bench::Shape& shape : suite.shapes(sweep)) {
        for (const bench::VariantInfo& variant : suite.variants()) {
          if (!variant.bit_exact || !suite.applies(variant.name, shape)) continue;
          const LaunchConfig config = suite.launches(variant.name, shape, kGm200.n_sms).front().config;
          if (config.grid.x * config.grid.y * config.block <= 32) continue;
          for (const std::string& inputs : suite.inputs_at(shape)) {
            const bench::Case c{suite.op(), variant.name, shape, inputs};
            ++outcome.n_cases;
            if (!same_in_all(suite, c)) {
              outcome.difference = c.line();
              return outcome;
            }
          }
        }
      }
    }
    return outcome;
  }

 private:
  bool same_in_all(const bench::Suite& suite, const bench::Case& c) const {
    std::vector<std::uint64_t> hashes;
    for (std::size_t i = 0; i < devices_.size(); ++i) {
      const std::unique_ptr<bench::Trial> trial = suite.trial(*devices_[i], c);
      trial->reset(*streams_[i]);
      trial->launch(*streams_[i]);
      hashes.push_back(trial->judge(*streams_[i]).output_hash);
    }
    for (const std::uint64_t hash : hashes) {
      if (hash != hashes[0]) return false;
    }
    return true;
  }

  std::vector<std::unique_ptr<Device>> devices_;
  std::vector<std::unique_ptr<Stream>> streams_;
};

}  // namespace m40llm::testing
