#pragma once
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "kernels/image/loops.hpp"

/// Reads what a kernel needs off its machine code.
namespace m40llm::image {

/// One kernel of a cubin.
struct CubinKernel {
  std::string name;
  int registers = 0;            ///< a thread
  int static_shared_bytes = 0;  ///< a block, without what the driver reserves
  int frame_bytes = 0;          ///< stack frame in local memory, a thread
  LoopSizes loop = {};          ///< of sm_50 to sm_62; else zeros
  std::uint64_t code_hash = 0;  ///< XXH3 of its instructions and of its constants but the parameters' place
};

/// The kernels (entry points) of a cubin, sorted by name. A cubin is a 64-bit little-endian ELF file of
/// machine 190 (EM_CUDA); its resources stand in sections that NVIDIA does not document, read here as
/// nvdisasm and cuobjdump show them. Throws std::runtime_error on anything that is not such a file or points past its end.
std::vector<CubinKernel> read_cubin(std::span<const std::byte> bytes);

}  // namespace m40llm::image
