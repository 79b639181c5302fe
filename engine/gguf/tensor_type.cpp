#include "engine/gguf/tensor_type.hpp"

#include <algorithm>
#include <array>
#include <cstddef>

#include "engine/error.hpp"

namespace m40llm::gguf {
namespace {

/// By number. block_elements is 0 for types that files had once and that were taken out of the format.
struct TypeTraits {
  std::string_view name;
  std::uint64_t block_elements;
  std::uint64_t block_bytes;
};

constexpr std::array kTypes{
    TypeTraits{"F32", 1, 4},        TypeTraits{"F16", 1, 2},        TypeTraits{"Q4_0", 32, 18},
    TypeTraits{"Q4_1", 32, 20},     TypeTraits{"Q4_2", 0, 0},       TypeTraits{"Q4_3", 0, 0},
    TypeTraits{"Q5_0", 32, 22},     TypeTraits{"Q5_1", 32, 24},     TypeTraits{"Q8_0", 32, 34},
    TypeTraits{"Q8_1", 32, 36},     TypeTraits{"Q2_K", 256, 84},    TypeTraits{"Q3_K", 256, 110},
    TypeTraits{"Q4_K", 256, 144},   TypeTraits{"Q5_K", 256, 176},   TypeTraits{"Q6_K", 256, 210},
    TypeTraits{"Q8_K", 256, 292},   TypeTraits{"IQ2_XXS", 256, 66}, TypeTraits{"IQ2_XS", 256, 74},
    TypeTraits{"IQ3_XXS", 256, 98}, TypeTraits{"IQ1_S", 256, 50},   TypeTraits{"IQ4_NL", 32, 18},
    TypeTraits{"IQ3_S", 256, 110},  TypeTraits{"IQ2_S", 256, 82},   TypeTraits{"IQ4_XS", 256, 136},
    TypeTraits{"I8", 1, 1},         TypeTraits{"I16", 1, 2},        TypeTraits{"I32", 1, 4},
    TypeTraits{"I64", 1, 8},        TypeTraits{"F64", 1, 8},        TypeTraits{"IQ1_M", 256, 56},
    TypeTraits{"BF16", 1, 2},       TypeTraits{"Q4_0_4_4", 0, 0},   TypeTraits{"Q4_0_4_8", 0, 0},
    TypeTraits{"Q4_0_8_8", 0, 0},   TypeTraits{"TQ1_0", 256, 54},   TypeTraits{"TQ2_0", 256, 66},
    TypeTraits{"IQ4_NL_4_4", 0, 0}, TypeTraits{"IQ4_NL_4_8", 0, 0}, TypeTraits{"IQ4_NL_8_8", 0, 0},
    TypeTraits{"MXFP4", 32, 17},    TypeTraits{"NVFP4", 64, 36},    TypeTraits{"Q1_0", 128, 18},
    TypeTraits{"Q2_0", 64, 18},
};
static_assert(kTypes[static_cast<std::size_t>(TensorType::q2_0)].name == "Q2_0");

/// What kernels read is a part of what files hold, told by kernels/formats.h alone; the two agree.
constexpr bool agrees(const FormatTraits& format) {
  const TypeTraits& type = kTypes.at(format.gguf_type);
  return type.name == format.gguf_name && type.block_elements == static_cast<std::uint64_t>(format.block) &&
         type.block_bytes == static_cast<std::uint64_t>(block_bytes(format.format));
}
static_assert(std::ranges::all_of(kFormats, agrees));

const TypeTraits& traits(TensorType type) { return kTypes.at(static_cast<std::size_t>(type)); }

}  // namespace

TensorType tensor_type(std::uint32_t number) {
  if (number >= kTypes.size()) {
    throw Error("type " + std::to_string(number) + " is unknown (expected one from 0 to " +
                std::to_string(kTypes.size() - 1) + ")");
  }
  if (kTypes[number].block_elements == 0) {
    throw Error("type " + std::string(kTypes[number].name) + " (" + std::to_string(number) +
                ") is no longer part of GGUF (expected a file of today's llama.cpp)");
  }
  return static_cast<TensorType>(number);
}

std::optional<Format> format_of(TensorType type) {
  for (const FormatTraits& format : kFormats) {
    if (tensor_type(format.format) == type) return format.format;
  }
  return std::nullopt;
}

std::string_view name(TensorType type) { return traits(type).name; }

std::string name_and_number(TensorType type) {
  return std::string(name(type)) + " (" + std::to_string(static_cast<std::uint32_t>(type)) + ")";
}

std::string names(std::span<const TensorType> types) {
  std::string list;
  for (std::size_t i = 0; i < types.size(); ++i) {
    list += (i == 0 ? "" : i + 1 < types.size() ? ", " : " or ") + std::string(name(types[i]));
  }
  return list;
}

std::uint64_t block_elements(TensorType type) { return traits(type).block_elements; }
std::uint64_t block_bytes(TensorType type) { return traits(type).block_bytes; }

}  // namespace m40llm::gguf
