#pragma once
#include <filesystem>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "kernels/image/compile.hpp"
#include "kernels/image/cubin.hpp"

/// The texts that the tool writes: what the host's compiler turns into the images of engine/device/image.hpp.
namespace m40llm::image {

/// A kernel's row of an image.
struct KernelRow {
  CubinKernel kernel;
  int spill_bytes = 0;
};

/// One arch's machine code, its file and what its kernels need.
struct ImageFile {
  std::string arch;
  bool ptx = false;
  std::string_view code;
  std::filesystem::path path;
  std::vector<KernelRow> kernels;
};

/// The C++ text that embeds the images of one source and registers them (engine/device/image_table.hpp).
std::string embedding(const std::string& stem, const Source& source, const std::string& toolkit,
                      std::span<const ImageFile> images);

/// A Makefile rule: target depends on files.
std::string depfile(const std::filesystem::path& target, const std::set<std::filesystem::path>& files);

}  // namespace m40llm::image
