#pragma once
#include <cstddef>
#include <span>
#include <string_view>
#include <vector>

#include "engine/gguf/file.hpp"
#include "engine/ops/gemv.hpp"
#include "reference/dequantize.hpp"

/// Weight matrices for the classes of inputs of the products' gates, as GGUF blocks, and the x that goes with
/// them.
namespace m40llm::bench {

/// A matrix as in a GGUF file: row after row of blocks.
struct Weights {
  Format format;
  std::size_t rows, cols;
  std::vector<std::byte> blocks;

  std::span<const std::byte> row(std::size_t i) const {
    const std::size_t bytes = blocks.size() / rows;
    return std::span(blocks).subspan(i * bytes, bytes);
  }
};

/// The reference's decoder of a format.
constexpr reference::Format in_reference(Format format) {
#define M40LLM_FORMAT(format, ...) reference::Format::format,
  constexpr reference::Format kFormats[] = {M40LLM_FORMATS(M40LLM_FORMAT)};
#undef M40LLM_FORMAT
  return kFormats[static_cast<std::size_t>(format)];
}

/// The widest row that an op normalizes itself, in whole blocks of the format.
constexpr int widest_normed(const FormatTraits& format, Activations activations) {
  return widest_normed(activations) / format.block * format.block;
}

struct ProductInputs {
  Weights a;             // (rows, cols)
  std::vector<float> x;  // (cols)
};

/// The classes of gates.hpp's products.
/// - "E", exact: every weight and x a non-zero integer, scales powers of two that differ from block to block;
///   any sum of the terms' magnitudes, expanded, is at most 2^24, so exact in every order of addition. For activations
///   of 8 bits one of each 32 x is +-127, so that their scale is 1.
/// - "E2", exact: x odd integers of 13 bits, weights +-1 in an odd number of places of a row, at most 1800;
///   the others are 0. Inputs cut to TF32 or FP16 always show.
///   Not for activations of 8 bits.
/// - "R": random and centred, weights as in trained models.
/// - "S-constant": constant rows.
/// - "S-outlier": one in 64 inputs about 1e4 times the others.
/// - "S-cancel": pairs of terms that cancel but for their last bits.
/// - "S-denormal": products below the normal numbers. For activations of 8 bits weights as in "R", and each 32 x just
///   above or below the 2^-100 that they are zeros from.
/// - "R-signs": as R, scales and minima of both signs; of formats in blocks alone.
/// - "E-patterns", exact: a row's one weight or block that is not zero is one bit pattern of the format (of its
///   scales), infinities, NaN and denormals first, every 16-bit one from 65544 rows of few columns on; x is 1.
///   From 128 columns on x is 0 in every fourth 32 of them, and half the rows have an infinity there; in larger
///   blocks from four of them on, in every fourth.
/// - "N-x": x infinite in two columns, where weights are negative, zero or positive: every product is an
///   infinity or NaN.
std::vector<std::string_view> product_classes(Format format, Activations activations);
/// One more class, "patterns", is for single rows: each weight (each scale) is another bit pattern of the format.
/// Throws UsageError on an unknown class. cols must be whole blocks.
ProductInputs make_product_inputs(std::string_view inputs, Format format, std::size_t rows, std::size_t cols,
                                  std::uint64_t seed, Activations activations = Activations::float32);

}  // namespace m40llm::bench
