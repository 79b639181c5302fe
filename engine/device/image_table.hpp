#pragma once
#include <cstdint>
#include <span>
#include <string_view>

#include "engine/device/image.hpp"

/// What the build embeds: the generated files define it, image.cpp reads it.
namespace m40llm {

/// The images of one kernels/<name>.cu.
struct EmbeddedSource {
  std::string_view name;
  std::uint64_t source_hash = 0;
  std::span<const Image> images;
};

/// All sources that the build compiled.
std::span<const EmbeddedSource* const> embedded_sources();
/// The NVRTC they were compiled with.
std::string_view embedded_toolkit();

}  // namespace m40llm
