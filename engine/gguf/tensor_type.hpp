#pragma once
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "kernels/formats.h"

namespace m40llm::gguf {

/// How a tensor's elements are stored. The numbers are the file's (ggml.h of the ggml project): all types that
/// a file can have, whether or not anything here computes with them.
enum class TensorType : std::uint32_t {
  f32 = 0,
  f16 = 1,
  q4_0 = 2,
  q4_1 = 3,
  q5_0 = 6,
  q5_1 = 7,
  q8_0 = 8,
  q8_1 = 9,
  q2_k = 10,
  q3_k = 11,
  q4_k = 12,
  q5_k = 13,
  q6_k = 14,
  q8_k = 15,
  iq2_xxs = 16,
  iq2_xs = 17,
  iq3_xxs = 18,
  iq1_s = 19,
  iq4_nl = 20,
  iq3_s = 21,
  iq2_s = 22,
  iq4_xs = 23,
  i8 = 24,
  i16 = 25,
  i32 = 26,
  i64 = 27,
  f64 = 28,
  iq1_m = 29,
  bf16 = 30,
  tq1_0 = 34,
  tq2_0 = 35,
  mxfp4 = 39,
  nvfp4 = 40,
  q1_0 = 41,
  q2_0 = 42,
};

/// The type of a number in a file. Throws Error saying what is wrong with the number ("type 99 is unknown")
/// if there is none, or none any more.
[[nodiscard]] TensorType tensor_type(std::uint32_t number);

/// The format that kernels read a type as; none for types that no kernel reads.
[[nodiscard]] std::optional<Format> format_of(TensorType type);
/// How a file stores a format.
[[nodiscard]] constexpr TensorType tensor_type(Format format) {
  return static_cast<TensorType>(traits(format).gguf_type);
}

/// "F32", "Q4_1", ... The type must be one of the enumerators, here and below.
[[nodiscard]] std::string_view name(TensorType type);
/// With its number, for messages: "IQ4_XS (23)".
[[nodiscard]] std::string name_and_number(TensorType type);
/// "F32, F16 or Q8_0"
[[nodiscard]] std::string names(std::span<const TensorType> types);
/// Elements that are stored together: 1, 32, 64, 128 or 256.
[[nodiscard]] std::uint64_t block_elements(TensorType type);
/// Bytes of one such block, scales included.
[[nodiscard]] std::uint64_t block_bytes(TensorType type);

}  // namespace m40llm::gguf
