#pragma once
#include <span>
#include <string>
#include <string_view>

#include "engine/device/launch.hpp"
#include "engine/error.hpp"

namespace m40llm {

/// What an op must at least do: each input read once, each output written once. Modelled, never measured.
struct Work {
  double bytes = 0;
  double flops = 0;
};

/// One kernel for an op: a row of the op's table.
template <class Params>
struct Variant {
  const char* name;  ///< "warp"; unique within the op
  Kernel<Params> kernel;
  LaunchConfig (*config)(const Params& params);  ///< from the shape alone
  /// d of the gates: the longest chain of roundings on the way to one output, from the inputs or from the last
  /// exp_f32, whose error the gates add by themselves. n_positions: of the sequence, for ops that sum over
  /// them. tests/chains counts them.
  int (*chain)(const Params& params, int n_positions);
  bool (*applies)(const Params& params) = nullptr;  ///< null: to every shape
  bool bit_exact = true;  ///< the same bits on every device; else judged by its bound alone
};

/// An op: what the harness sweeps and the engine calls. The first variant that applies is the engine's
/// choice.
template <class Params>
struct Op {
  const char* name;    ///< "gemv_q4_1"
  const char* source;  ///< the file of its kernels: kernels/<source>.cu
  std::span<const Variant<Params>> variants;
  Work (*work)(const Params& params);

  const Variant<Params>& default_variant(const Params& params) const {
    for (const Variant<Params>& variant : variants) {
      if (variant.applies == nullptr || variant.applies(params)) return variant;
    }
    throw Error(std::string("op '") + name + "': no variant applies to this shape");
  }

  const Variant<Params>& variant(std::string_view wanted) const {
    std::string known;
    for (const Variant<Params>& variant : variants) {
      if (variant.name == wanted) return variant;
      known += std::string(known.empty() ? "" : ", ") + variant.name;
    }
    throw UsageError("op '" + std::string(name) + "' has no variant '" + std::string(wanted) + "'; it has " +
                     known);
  }
};

}  // namespace m40llm
