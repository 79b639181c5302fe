#pragma once
#include <cstddef>
#include <cstdint>
#include <limits>
#include <map>
#include <memory>
#include <mutex>
#include <span>
#include <stdexcept>
#include <string>
#include <vector>

#include "engine/device/graph.hpp"
#include "engine/device/launch.hpp"
#include "engine/error.hpp"
#include "kernels/chip.hpp"

/// Devices, streams, events and memory, alike for a CUDA GPU and for the SIMT device (the CPU running the
/// same kernels).
namespace m40llm {

enum class DeviceKind { cuda, simt };

/// What a device is, for records and for the first line of every binary's output. Zero or empty: not known.
struct DeviceInfo {
  DeviceKind kind = DeviceKind::simt;
  std::string name;  ///< "NVIDIA H200", "SIMT device on AMD EPYC"
  std::string arch;  ///< "sm_90"; "simt"
  std::string
      image;  ///< the arch of the kernels it runs: "sm_52", "compute_52", "sm_90"; "host" or "host-checked"
  std::string driver;            ///< CUDA driver version, "13.0 (580.159.04)"
  std::string pci_id{};          ///< "00000000:3B:00.0": which of several alike GPUs; empty on SIMT
  int ordinal = -1;              ///< N of cuda:N; -1 on SIMT
  int n_sms = 0;                 ///< streaming multiprocessors; on SIMT, worker threads
  std::size_t memory_bytes = 0;  ///< on SIMT, what it may take of the host's
  std::size_t l2_bytes = 0;
  double bandwidth_bytes_per_s = 0;  ///< memory's peak by the driver's clock and bus width (modelled)
  bool ecc = false;
  std::string why_no_gpu{};  ///< of a SIMT device that was taken because there was no GPU
};

/// A device failed while working: a driver call (its name and the error's name), or a fault the SIMT device
/// found in a kernel (kernel, block, thread, file and line).
class DeviceFault : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

/// A launch that a device cannot run (more threads, shared memory or resident blocks than it has): nothing of it
/// was begun, and the device goes on as before.
class LaunchRefused : public DeviceFault {
 public:
  using DeviceFault::DeviceFault;
};

/// A point in a stream's order, with its time.
class Event {
 public:
  virtual ~Event() = default;
  /// Waits on the host until the stream has passed the event.
  virtual void synchronize() = 0;
  /// Time from `earlier` to this event in us. Both must have been recorded and passed. On the SIMT device it
  /// is CPU time on the wall and says nothing of a GPU.
  virtual double elapsed_us(const Event& earlier) const = 0;
};

/// Work in order, asynchronous to the host and to other streams.
class Stream {
 public:
  virtual ~Stream() = default;

  template <class Params>
  void launch(const Kernel<Params>& kernel, const LaunchConfig& config, const Params& params) {
    launch_erased(KernelRef::from(kernel), config, &params, sizeof(Params));
  }
  void launch(const Launch& launch) {
    if (launch.library_call) {
      launch.library_call(*this);
    } else {
      launch_erased(launch.kernel, launch.config, launch.params.data(), launch.params.size());
    }
  }

  /// All of the graph's kernels, behind what was queued before.
  virtual void launch(const Graph& graph) = 0;

  /// A copy lets go of ordinary host memory before it returns, so that no exception can free it under the copy:
  /// a source of at most 64 KiB is taken at the call, for anything else the host waits for the stream. Pinned
  /// memory (PinnedBuffer) must stay as it is until synchronize(), its copies return at once; sources of at most
  /// 64 KiB are taken at the call there too.
  virtual void copy_to_device(void* device, const void* host, std::size_t bytes) = 0;
  virtual void copy_to_host(void* host, const void* device, std::size_t bytes) = 0;
  virtual void fill(void* device, std::uint8_t byte, std::size_t bytes) = 0;
  virtual void record(Event& event) = 0;
  /// What follows on this stream starts after `event` (of any stream of the device) has been passed.
  virtual void wait(const Event& event) = 0;
  /// Blocks until all is done. Throws DeviceFault if anything since the last synchronize failed.
  virtual void synchronize() = 0;

  virtual void launch_erased(const KernelRef& kernel, const LaunchConfig& config, const void* params,
                             std::size_t bytes) = 0;
};

/// Calls since the device was opened; a difference of two says what a step cost.
struct DeviceCounters {
  std::uint64_t launches = 0;  ///< of a kernel, or of a graph
  std::uint64_t kernels = 0;   ///< that were launched, those of graphs too
  std::uint64_t allocations = 0;
  std::uint64_t copies = 0;
  std::uint64_t synchronizations = 0;
};

class Device {
 public:
  virtual ~Device() = default;
  virtual const DeviceInfo& info() const = 0;
  /// SMs that grids are made for: a GPU's own. The SIMT device stands for an M40, however many threads work.
  int n_sms() const { return info().kind == DeviceKind::cuda ? info().n_sms : kGm200.n_sms; }
  virtual std::unique_ptr<Stream> create_stream() = 0;
  virtual std::unique_ptr<Event> create_event() = 0;
  /// Holds its own copy of the launches. Throws LaunchRefused as a stream would on any of them, and on a library's
  /// call.
  virtual std::unique_ptr<Graph> create_graph(std::span<const Launch> launches) = 0;

  /// Device memory, 256-byte aligned, contents undefined. `owner` says who holds it ("weights", "kv_cache").
  /// Throws OutOfMemory naming owner, bytes, what the device has left and who holds the rest when there is not
  /// enough. Prefer Buffer<T>.
  void* allocate(std::size_t bytes, const std::string& owner);
  /// Likewise, for memory of which little will be touched. The SIMT device takes memory only for the pages
  /// that are (the others read as zeros), does not count it in holdings(), and maps as much again before the
  /// address, so that an index that became negative gives a wrong result and not the end of the process; its
  /// checked build has none. A GPU takes all of it.
  void* allocate_sparse(std::size_t bytes, const std::string& owner);
  /// Waits until all that was submitted to the device's streams before, which may use the memory, is done. So
  /// it waits for ever while a launch waits for the host.
  void release(void* pointer) noexcept;
  /// Bytes that can be allocated now; on the SIMT device, of the host's memory. The largest number: not known.
  virtual std::size_t free_bytes() const { return std::numeric_limits<std::size_t>::max(); }

  /// Host memory that copies run fast from and to, and that kernels reach too. Prefer PinnedBuffer<T>. Releasing
  /// it waits as release() does.
  virtual void* allocate_pinned(std::size_t bytes) = 0;
  virtual void release_pinned(void* pointer) noexcept = 0;

  /// Bytes now held by each owner.
  std::map<std::string, std::size_t> holdings() const;
  DeviceCounters counters() const;

 protected:
  virtual void* allocate_raw(std::size_t bytes, const std::string& owner) = 0;
  virtual void* allocate_sparse_raw(std::size_t bytes, const std::string& owner) {
    return allocate_raw(bytes, owner);
  }
  virtual void release_raw(void* pointer) noexcept = 0;
  /// What allocate_raw throws when there is not enough.
  OutOfMemory out_of_memory(std::size_t bytes, const std::string& owner) const;
  std::size_t held_bytes() const;
  void count_launch(std::size_t n_kernels);
  void count_copy();
  void count_synchronization();

 private:
  struct Holding {
    std::string owner;
    std::size_t bytes;
  };
  mutable std::mutex mutex_;
  std::map<void*, Holding> holdings_;
  std::size_t held_bytes_ = 0;
  DeviceCounters counters_;
};

}  // namespace m40llm
