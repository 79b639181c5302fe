#pragma once
#include <span>
#include <string_view>

#include "engine/device/image.hpp"

namespace m40llm {

/// Defined in the static memory of a program or library, it adds images to those of images(). The files that
/// m40llm-nvrtc writes define one each.
class RegisterImages {
 public:
  /// toolkit: the NVRTC that made them.
  RegisterImages(std::string_view toolkit, std::span<const Image> images);
};

}  // namespace m40llm
