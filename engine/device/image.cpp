#include "engine/device/image.hpp"

#include <algorithm>
#include <map>
#include <stdexcept>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "engine/device/image_table.hpp"
#include "engine/error.hpp"
#include "kernels/chip.hpp"

namespace m40llm {
namespace {

/// A name would be looked up in one of two images, and which would be chance.
void expect_names_once(const std::vector<Image>& images) {
  std::map<std::pair<std::string_view, std::string_view>, std::string_view> seen;
  for (const Image& image : images) {
    for (const KernelResources& kernel : image.kernels) {
      const auto [at, is_new] = seen.emplace(std::pair{image.arch, kernel.name}, image.source);
      if (is_new) continue;
      throw std::logic_error("two kernels '" + std::string(kernel.name) + "' for " + std::string(image.arch) +
                             ", of " + std::string(at->second) + ".cu and " + std::string(image.source) +
                             ".cu; one of a name is expected");
    }
  }
}

}  // namespace

std::span<const Image> images() {
  static const std::vector<Image> all = [] {
    std::vector<Image> collected;
    for (const RegisterImages* some = RegisterImages::last_; some != nullptr; some = some->before_)
      collected.insert(collected.end(), some->images_.begin(), some->images_.end());
    std::ranges::sort(collected, {}, [](const Image& image) { return std::tie(image.source, image.arch); });
    expect_names_once(collected);
    return collected;
  }();
  return all;
}

std::string_view images_toolkit() {
  return RegisterImages::last_ == nullptr ? std::string_view() : RegisterImages::last_->toolkit_;
}

std::uint64_t code_hash(std::string_view kernel) { return sm52_resources(kernel).code_hash; }

const KernelResources& sm52_resources(std::string_view kernel) {
  const KernelResources* const found = find_resources(kGm200.arch, kernel);
  if (found == nullptr) {
    throw Error("this build has no " + std::string(kGm200.arch) + " image of kernel '" + std::string(kernel) +
                "': build with " + kGm200.arch + " among the arches");
  }
  return *found;
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
