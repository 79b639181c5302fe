#pragma once
#include <map>
#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "engine/device/cuda/driver.hpp"
#include "engine/device/device.hpp"
#include "engine/device/image.hpp"
#include "engine/device/pinned_ranges.hpp"

/// The CUDA device: kernels from the embedded images, through the driver API.
namespace m40llm::cuda {

/// A GPU as the driver lists it.
struct Gpu {
  int ordinal = 0;
  std::string name;
  int major = 0;  ///< of its compute capability: 9 of sm_90
  int minor = 0;

  std::string arch() const { return "sm_" + std::to_string(major) + std::to_string(minor); }
};

/// All GPUs in the driver's order. Throws NoDevice when there is no driver or no GPU.
std::vector<Gpu> list_gpus();

/// Whether machine code or PTX of an arch runs on the GPU: a cubin where the major version is the same and
/// the minor one no less than its own, PTX on every GPU that is not older (CUDA C++ Programming Guide, Binary
/// and PTX Compatibility). An arch with a letter behind, "sm_90a", runs on that GPU alone.
bool runs_on(std::string_view arch, const Gpu& gpu);

/// The arch of the images to use on the GPU: the one wanted, or for "auto" the newest cubin that runs there,
/// else the newest PTX. Throws Error when the build does not have it or it does not run on the GPU.
std::string choose_image(std::span<const Image> images, const std::string& wanted, const Gpu& gpu);

/// Streams, events, graphs and buffers must not outlive it. Any thread may use it; a stream belongs to one thread at
/// a time.
class CudaDevice final : public Device {
 public:
  CudaDevice(const Gpu& gpu, const std::string& image);
  ~CudaDevice() override;
  CudaDevice(const CudaDevice&) = delete;
  CudaDevice& operator=(const CudaDevice&) = delete;

  const DeviceInfo& info() const override { return info_; }
  std::unique_ptr<Stream> create_stream() override;
  std::unique_ptr<Event> create_event() override;
  std::unique_ptr<Graph> create_graph(std::span<const Launch> launches) override;
  void* allocate_pinned(std::size_t bytes) override;
  void release_pinned(void* pointer) noexcept override;
  std::size_t free_bytes() const override;

  /// "0000:1b:00.0": how NVML names the GPU.

 private:
  friend class CudaStream;
  friend class CudaGraph;

  /// A kernel as loaded, and what it allows.
  struct Loaded {
    Function function = nullptr;
    int max_threads = 0;          ///< a block, by its registers or __launch_bounds__
    int static_shared_bytes = 0;  ///< a block, on sm_52 where the build has it
  };

  void* allocate_raw(std::size_t bytes, const std::string& owner) override;
  void release_raw(void* pointer) noexcept override;

  /// Makes the device's context the calling thread's. The driver's calls work on the thread's own.
  void enter() const { driver_.context_set_current(context_); }
  /// Loads the kernel's file at the first use. Throws Error on a kernel that no image holds.
  const Loaded& load(std::string_view kernel);
  Module load_module(const Image& image);
  /// Throws LaunchRefused when the kernel cannot be launched so.
  void check_launch(std::string_view kernel, const Loaded& loaded, const LaunchConfig& config) const;

  const Driver& driver_;
  Ordinal handle_ = 0;
  Context context_ = nullptr;
  DeviceInfo info_;
  PinnedRanges pinned_;
  std::mutex mutex_;  ///< of the two maps
  std::map<const Image*, Module> modules_;
  std::map<std::string, Loaded, std::less<>> kernels_;
};

}  // namespace m40llm::cuda
