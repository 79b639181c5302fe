#pragma once
#include <cstddef>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "engine/device/launch.hpp"
#include "engine/error.hpp"

namespace m40llm {

/// What an op must at least do: each input read once, each output written once. Modelled, never measured.
struct Work {
  double bytes = 0;
  double flops = 0;
};

/// How often the warps of a product go round its loops (kernels/gemv.cuh), summed over all warps.
struct ProductRounds {
  double weights = 0;    ///< of the op; 0: it is no product
  int lane_weights = 0;  ///< that a lane takes in one round of the loop over pieces, if the row is that long
  double units = 0;      ///< rounds of the loop over units
  double pieces = 0;     ///< and of the loop in it over a unit's pieces, less what its last round skips
};

/// Device memory that a variant works in besides that of its parameters; 256-byte aligned.
struct WorkMemory {
  std::byte* scratch = nullptr;  ///< undefined contents
  std::byte* state =
      nullptr;  ///< zeros before the first launch, and left as zeros by all launches of the variant
};

/// One way to do an op: a row of the op's table. Mostly it is one kernel, put on a device by a configuration
/// that follows from the shape.
template <class Params>
struct Variant {
  const char* name;       ///< "warp"; unique within the op
  Kernel<Params> kernel;  ///< the one kernel, or of several the one that does most
  LaunchConfig (*config)(
      const Params& params);  ///< of `kernel`, from the shape alone; null if `config_on` or `all` is there
  /// d of the gates: the longest chain of roundings on the way to one output, from the inputs or from the last
  /// exp_f32, whose error the gates add by themselves. n_positions: of the sequence, for ops that sum over
  /// them. tests/chains counts them.
  int (*chain)(const Params& params, int n_positions);
  bool (*applies)(const Params& params) = nullptr;  ///< null: to every shape
  bool bit_exact = true;  ///< the same bits on every device; else judged by its bound alone
  /// Of `kernel`, instead of `config`, where the grid is made for the device's SMs.
  LaunchConfig (*config_on)(const Params& params, int n_sms) = nullptr;
  /// For more than one kernel or a library's call: all launches in order.
  /// `memory` is of scratch_bytes() and state_bytes(); null where launches are only listed.
  std::vector<Launch> (*all)(const Params& params, int n_sms, const WorkMemory& memory) = nullptr;
  std::size_t (*scratch)(const Params& params, int n_sms) = nullptr;  ///< bytes; null: none
  std::size_t (*state)(const Params& params, int n_sms) = nullptr;    ///< bytes; null: none

  std::vector<Launch> launches(const Params& params, int n_sms, const WorkMemory& memory) const {
    if (all != nullptr) return all(params, n_sms, memory);
    return {Launch(kernel, config_on != nullptr ? config_on(params, n_sms) : config(params), params)};
  }
  std::size_t scratch_bytes(const Params& params, int n_sms) const {
    return scratch == nullptr ? 0 : scratch(params, n_sms);
  }
  std::size_t state_bytes(const Params& params, int n_sms) const {
    return state == nullptr ? 0 : state(params, n_sms);
  }
};

/// An op: what the harness sweeps and the engine calls. The first variant that applies is the engine's
/// choice.
template <class Params>
struct Op {
  const char* name;    ///< "gemv_q4_1"
  const char* source;  ///< the file of its kernels: kernels/<source>.cu
  std::span<const Variant<Params>> variants;
  Work (*work)(const Params& params);
  ProductRounds (*rounds)(const Params& params) = nullptr;  ///< of every variant; null: it is no product

  /// Null if none applies.
  const Variant<Params>* find_default_variant(const Params& params) const {
    for (const Variant<Params>& variant : variants) {
      if (variant.applies == nullptr || variant.applies(params)) return &variant;
    }
    return nullptr;
  }
  const Variant<Params>& default_variant(const Params& params) const {
    if (const Variant<Params>* const variant = find_default_variant(params)) return *variant;
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
