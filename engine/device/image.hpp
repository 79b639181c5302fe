#pragma once
#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

/// The machine code of the kernels, compiled when the project was built and embedded in the binaries.
namespace m40llm {

/// What one kernel needs on one arch, read off its cubin. Zero on PTX images (`registers == 0`: unavailable).
struct KernelResources {
  std::string_view name;
  int registers = 0;            ///< a thread
  int static_shared_bytes = 0;  ///< a block
  int local_bytes = 0;          ///< stack frame, a thread
  int spill_bytes = 0;          ///< stores and loads the compiler spilled, a thread
  std::uint64_t code_hash = 0;  ///< XXH3 of its instructions, constants and tables; 0 on PTX images
  int loop_instructions = 0;   ///< of its main loop, nested deepest (kernels/image/loops.hpp): sm_50 to sm_62
  int outer_instructions = 0;  ///< of the loop around that, which is counted too; 0: none
};

/// One kernels/<source>.cu compiled for one arch.
struct Image {
  std::string_view source;  ///< "rms_norm"
  std::string_view arch;    ///< "sm_52", "compute_52", "sm_90"
  bool ptx = false;
  std::uint64_t hash = 0;           ///< XXH3 of the machine code or PTX text
  std::span<const std::byte> data;  ///< a PTX text ends with NUL
  std::span<const KernelResources> kernels;
};

/// All embedded images, sorted by source, then arch. Throws std::logic_error if two of one arch have kernels of
/// one name.
std::span<const Image> images();

/// The NVRTC that made them: "12.9.86".
std::string_view images_toolkit();

/// The hash of a kernel's machine code for sm_52: what its source comes to, whatever its comments say and whatever
/// other kernels stand beside it. Throws Error on an unknown kernel.
std::uint64_t code_hash(std::string_view kernel);

/// What a kernel needs on sm_52. Throws Error on one that this build has no image of for it.
const KernelResources& sm52_resources(std::string_view kernel);
/// The kernel's resources on one arch, or nullptr.
const KernelResources* find_resources(std::string_view arch, std::string_view kernel);
/// The image of one arch that holds the kernel, or nullptr.
const Image* find_image(std::string_view arch, std::string_view kernel);

}  // namespace m40llm
