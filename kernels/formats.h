#pragma once
// The formats of weights that kernels read: the one home of what a format is. NVRTC reads it too.

/// X(format, GGUF's name, GGUF's number, weights a block, bytes of values and of scales a block, place of the
/// scales in a file's block, roundings a weight, weights a piece, pieces ahead, chain a piece, chain behind, blocks an
/// SM). GGUF stores a block's scales and values together; in device memory all values of a matrix stand in one array and
/// all scales in another (matrix.h), block by block, so that values can be read 16 bytes at a time. Of what follows from
/// how kernels/formats.cuh reads it: roundings are of a weight, the exact products with sub-scales counted too; a piece is
/// what a lane takes of a row at a time, so many are in flight, each adds so many roundings to the longest chain
/// of its sum, and so many follow until the lane's sum is one number; so many blocks of a product with a norm before it
/// has an SM at once.
#define M40LLM_FLOAT_FORMATS(X)               \
  X(f32, "F32", 0, 1, 4, 0, 0, 0, 4, 8, 1, 2, 3) \
  X(f16, "F16", 1, 1, 2, 0, 0, 0, 8, 8, 2, 2, 3) \
  X(bf16, "BF16", 30, 1, 2, 0, 0, 0, 8, 8, 2, 2, 3)
/// Of integers with scales: their products with x are of floats too, or of integers (int8.cuh).
#define M40LLM_INTEGER_FORMATS(X)                      \
  X(q8_0, "Q8_0", 8, 32, 32, 2, 0, 1, 16, 8, 1, 6, 2)     \
  X(q4_1, "Q4_1", 3, 32, 16, 4, 0, 1, 32, 4, 8, 3, 3)     \
  X(q4_0, "Q4_0", 2, 32, 16, 2, 0, 1, 32, 4, 1, 10, 2)    \
  X(q4_k, "Q4_K", 12, 256, 128, 16, 0, 2, 32, 4, 8, 4, 2) \
  X(q5_k, "Q5_K", 13, 256, 160, 16, 0, 2, 32, 2, 8, 4, 2) \
  X(q6_k, "Q6_K", 14, 256, 192, 18, 192, 2, 16, 4, 1, 6, 2)
#define M40LLM_FORMATS(X) \
  M40LLM_FLOAT_FORMATS(X) \
  M40LLM_INTEGER_FORMATS(X)

enum class Format {
#define M40LLM_ENUMERATOR(format, ...) format,
  M40LLM_FORMATS(M40LLM_ENUMERATOR)
#undef M40LLM_ENUMERATOR
};

struct FormatTraits {
  Format format;
  const char* name;       ///< "q4_1", as cases and records spell it
  const char* gguf_name;  ///< "Q4_1"
  unsigned gguf_type;
  int block;        ///< weights a block; a row is whole blocks
  int value_bytes;  ///< a block, in device memory as in the file
  int scale_bytes;  ///< likewise
  int scales_at;    ///< of a file's block, whose other bytes are the values
  int roundings;    ///< of a weight as it is read
  int piece;        ///< weights that a lane of a product takes at a time
  int ahead;        ///< pieces that a lane has in flight, of all rows of a unit
  int piece_chain;  ///< roundings that a piece adds to the longest chain of a lane's sum
  int join_chain;   ///< and those behind the last piece, until the sum is one number
  int sm_blocks;    ///< blocks of a product with a norm before it that an SM has registers for
};

/// In the order of the enumerators.
constexpr FormatTraits kFormats[] = {
#define M40LLM_TRAITS(format, gguf_name, ...) {Format::format, #format, gguf_name, __VA_ARGS__},
    M40LLM_FORMATS(M40LLM_TRAITS)
#undef M40LLM_TRAITS
};

#define M40LLM_ONE(...) +1
constexpr int kFloatFormats = M40LLM_FLOAT_FORMATS(M40LLM_ONE);  // which stand first
#undef M40LLM_ONE

#ifndef __CUDACC_RTC__
constexpr const FormatTraits& traits(Format format) { return kFormats[static_cast<int>(format)]; }
constexpr int block_bytes(Format format) { return traits(format).value_bytes + traits(format).scale_bytes; }
constexpr double bits_per_weight(Format format) { return 8.0 * block_bytes(format) / traits(format).block; }
#endif
