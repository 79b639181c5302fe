#pragma once
#include <span>
#include <string_view>

#include "engine/device/image.hpp"

namespace m40llm {

/// Defined in the static memory of a program or library, it adds images to those of images(). The files that
/// m40llm-nvrtc writes define one each. It takes no memory: before main() there is no one to tell that there is none.
class RegisterImages {
 public:
  /// toolkit: the NVRTC that made them.
  RegisterImages(std::string_view toolkit, std::span<const Image> images)
      : toolkit_(toolkit), images_(images), before_(last_) {
    last_ = this;
  }
  RegisterImages(const RegisterImages&) = delete;
  RegisterImages& operator=(const RegisterImages&) = delete;

 private:
  friend std::span<const Image> images();
  friend std::string_view images_toolkit();
  static inline const RegisterImages* last_ = nullptr;
  std::string_view toolkit_;
  std::span<const Image> images_;
  const RegisterImages* before_;
};

}  // namespace m40llm
