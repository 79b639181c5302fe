#include "engine/device/image.hpp"

#include <algorithm>
#include <string>
#include <tuple>
#include <vector>

#include "engine/device/image_table.hpp"
#include "engine/error.hpp"

namespace m40llm {

std::span<const Image> images() {
  static const std::vector<Image> all = [] {
    std::vector<Image> collected;
    for (const EmbeddedSource* source : embedded_sources()) {
      collected.insert(collected.end(), source->images.begin(), source->images.end());
    }
    std::ranges::sort(collected, {}, [](const Image& image) { return std::tie(image.source, image.arch); });
    return collected;
  }();
  return all;
}

std::string_view images_toolkit() { return embedded_toolkit(); }

std::uint64_t source_hash(std::string_view source) {
  std::string known;
  for (const EmbeddedSource* embedded : embedded_sources()) {
    if (embedded->name == source) return embedded->source_hash;
    known += (known.empty() ? "" : ", ") + std::string(embedded->name);
  }
  throw Error("no kernel file '" + std::string(source) + "' in this build; it has " + known);
}

const Image* find_image(std::string_view arch, std::string_view kernel) {
  for (const Image& image : images()) {
    if (image.arch == arch && std::ranges::count(image.kernels, kernel, &KernelResources::name) > 0)
      return &image;
  }
  return nullptr;
}

const KernelResources* find_resources(std::string_view arch, std::string_view kernel) {
  const Image* image = find_image(arch, kernel);
  return image == nullptr ? nullptr : &*std::ranges::find(image->kernels, kernel, &KernelResources::name);
}

}  // namespace m40llm
