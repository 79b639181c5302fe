#pragma once
#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <stdexcept>
#include <string>
#include <vector>

#include "engine/device/launch.hpp"

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
  std::string driver;  ///< CUDA driver version, "13.0 (580.159.04)"
  int n_sms = 0;       ///< streaming multiprocessors; on SIMT, worker threads
  std::size_t memory_bytes = 0;
  std::size_t l2_bytes = 0;
  double bandwidth_bytes_per_s = 0;  ///< memory's peak by the driver's clock and bus width (modelled)
  bool ecc = false;
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
  std::uint64_t launches = 0;
  std::uint64_t allocations = 0;
  std::uint64_t copies = 0;
  std::uint64_t synchronizations = 0;
};

class Device {
 public:
  virtual ~Device() = default;
  virtual const DeviceInfo& info() const = 0;
  virtual std::unique_ptr<Stream> create_stream() = 0;
  virtual std::unique_ptr<Event> create_event() = 0;

  /// Device memory, 256-byte aligned, contents undefined. `owner` says who holds it ("weights", "kv_cache").
  /// Throws Error naming owner, bytes and what the device has left when there is not enough. Prefer
  /// Buffer<T>.
  void* allocate(std::size_t bytes, const std::string& owner);
  /// Waits until all that was submitted to the device's streams before, which may use the memory, is done. So
  /// it waits for ever while a launch waits for the host.
  void release(void* pointer) noexcept;

  /// Host memory that copies run fast from and to, and that kernels reach too. Prefer PinnedBuffer<T>. Releasing
  /// it waits as release() does.
  virtual void* allocate_pinned(std::size_t bytes) = 0;
  virtual void release_pinned(void* pointer) noexcept = 0;

  /// Bytes now held by each owner.
  std::map<std::string, std::size_t> holdings() const;
  DeviceCounters counters() const;

 protected:
  virtual void* allocate_raw(std::size_t bytes, const std::string& owner) = 0;
  virtual void release_raw(void* pointer) noexcept = 0;
  void count_launch();
  void count_copy();
  void count_synchronization();

 private:
  struct Holding {
    std::string owner;
    std::size_t bytes;
  };
  mutable std::mutex mutex_;
  std::map<void*, Holding> holdings_;
  DeviceCounters counters_;
};

}  // namespace m40llm
