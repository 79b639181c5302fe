#pragma once
#include <cstddef>
#include <cstring>
#include <functional>
#include <type_traits>
#include <utility>
#include <vector>

namespace m40llm {

/// Blocks of a launch. A kernel sees them as gridDim and blockIdx.
struct Grid {
  unsigned x = 1;
  unsigned y = 1;
};

/// How a kernel is put on a device. Blocks are one-dimensional and whole warps: `block` is a multiple of 32,
/// at most 1024.
struct LaunchConfig {
  Grid grid;
  unsigned block = 32;        ///< threads a block
  unsigned shared_bytes = 0;  ///< dynamic shared memory a block (DYN_SHARED)
  bool resident = false;      ///< blocks wait for each other: all of them must be on the device at once
  /// So many of the first blocks (row by row of the grid) write only what nobody reads: the SIMT device, which
  /// would take hours for a grid of millions, leaves them out. A GPU runs them.
  unsigned unread_blocks = 0;
  /// The host may write words that the kernel waits for while it runs, so waiting is never a deadlock. Only the
  /// SIMT device asks.
  bool host_fed = false;
  /// The kernel calls wait_for_earlier_kernels() before it reads or writes what others write. In a graph, on a GPU that
  /// can (from sm_90 on, in its own machine code), it then begins while the one before it still runs.
  bool overlaps = false;
};

/// A kernel under its one name: looked up in an image on a CUDA device, called on the SIMT device.
/// Params is the op's plain parameter struct; it is copied at the launch.
template <class Params>
struct Kernel {
  static_assert(std::is_trivially_copyable_v<Params> && sizeof(Params) <= 4096,
                "a kernel takes one small POD");
  const char* name = nullptr;
  void (*function)(Params) = nullptr;
};

/// A Kernel with its parameter type erased: what a Stream's implementation gets.
struct KernelRef {
  const char* name;
  void (*function)();
  void (*call)(void (*function)(), const void* params);  ///< restores the types and calls

  template <class Params>
  static KernelRef from(const Kernel<Params>& kernel) {
    return {kernel.name, reinterpret_cast<void (*)()>(kernel.function),
            [](void (*function)(), const void* params) {
              reinterpret_cast<void (*)(Params)>(function)(*static_cast<const Params*>(params));
            }};
  }
};

class Stream;

/// A kernel with its configuration and a copy of its parameters: what can be listed, and queued as often as one
/// likes (Stream::launch).
struct Launch {
  template <class Params>
  Launch(const Kernel<Params>& what, const LaunchConfig& how, const Params& with)
      : kernel(KernelRef::from(what)), config(how), params(sizeof(Params)) {
    std::memcpy(params.data(), &with, sizeof(Params));
  }
  /// A library's work: `queue` puts it on a stream, and the library chooses its own configuration.
  Launch(const char* name, std::function<void(Stream&)> queue)
      : kernel{name, nullptr, nullptr}, library_call(std::move(queue)) {}

  /// Of a launch that was made with such parameters.
  template <class Params>
  Params params_as() const {
    Params with;
    std::memcpy(&with, params.data(), sizeof(Params));
    return with;
  }

  KernelRef kernel;
  LaunchConfig config;
  std::vector<std::byte> params;
  std::function<void(Stream&)> library_call;  ///< empty: `kernel` is launched
};

}  // namespace m40llm
