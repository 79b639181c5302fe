#include "engine/device/simt/simt_device.hpp"

#include <sys/mman.h>

#include <cerrno>
#include <chrono>
#include <condition_variable>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <fstream>
#include <functional>
#include <memory>
#include <thread>

#include "engine/device/memory.hpp"
#include "kernels/simt/checker.hpp"
#include "kernels/simt/executor.hpp"

namespace m40llm {
namespace {

constexpr unsigned kSms = 24;  // of an M40: what a resident grid may count on
constexpr unsigned kThreadsPerSm = 2048;
constexpr unsigned kBlocksPerSm = 32;
constexpr unsigned kSharedPerSm = 96 * 1024;
constexpr std::size_t kCopiedAtCall = 64 * 1024;
constexpr std::size_t kSparseUnit = 4096;
// The checked build keeps a cell of 16 bytes for every 4 (kernels/simt/shadow.hpp).
constexpr std::size_t kHostBytesPerByte = simt::kChecked ? 5 : 1;
// From this size on an allocation first asks the system what is left: that takes 0.1 ms.
constexpr std::size_t kAlwaysAsked = 1 << 20;

std::mutex substitutes_mutex;
std::map<std::string, void (*)()> substitutes;

void (*substituted(const KernelRef& kernel))() {
  const std::lock_guard lock(substitutes_mutex);
  const auto found = substitutes.find(kernel.name);
  return found == substitutes.end() ? kernel.function : found->second;
}

std::string cpu_name() {
  std::ifstream cpuinfo("/proc/cpuinfo");
  for (std::string line; std::getline(cpuinfo, line);) {
    if (line.starts_with("model name")) return line.substr(line.find(':') + 2);
  }
  return "unknown CPU";
}

/// One recording of an event. Who waits, waits for the recording that was the last when it was told to: the
/// event may be recorded anew before the streams have come that far.
class Recording {
 public:
  /// `times`: what comes before it; empty but in the checked build.
  void pass(const simt::checker::Times& times) {
    const std::lock_guard lock(mutex_);
    passed_ = true;
    times_ = times;
    at_ = std::chrono::steady_clock::now();
    changed_.notify_all();
  }
  simt::checker::Times wait() const {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return passed_; });
    return times_;
  }
  std::chrono::steady_clock::time_point at() const {
    wait();
    return at_;
  }

 private:
  mutable std::mutex mutex_;
  mutable std::condition_variable changed_;
  bool passed_ = false;
  std::chrono::steady_clock::time_point at_;
  simt::checker::Times times_;
};

class SimtEvent final : public Event {
 public:
  SimtEvent() { last->pass({}); }  // an event nobody recorded holds nobody up
  void synchronize() override {
    const simt::checker::Times passed = last->wait();
    if constexpr (simt::kChecked) simt::checker::host_waited(passed);
  }
  double elapsed_us(const Event& earlier) const override {
    const auto& other = dynamic_cast<const SimtEvent&>(earlier);
    return std::chrono::duration<double, std::micro>(last->at() - other.last->at()).count();
  }

  std::shared_ptr<Recording> last = std::make_shared<Recording>();
};

simt::Order order_of(const DeviceOptions& options) {
  simt::Order order;
  order.seed = options.simt_seed;
  order.kind = options.simt_order == SimtOrder::ascending    ? simt::Order::Kind::ascending
               : options.simt_order == SimtOrder::descending ? simt::Order::Kind::descending
                                                             : simt::Order::Kind::random;
  return order;
}

class SimtDevice final : public Device {
 public:
  SimtDevice(const DeviceOptions& options, unsigned n_workers, const std::string& why_no_gpu)
      : order_(order_of(options)),
        n_workers_(n_workers),
        budget_bytes_(options.memory_bytes != 0 ? options.memory_bytes
                                                : free_host_memory() / kHostBytesPerByte) {
    info_.kind = DeviceKind::simt;
    info_.name = "SIMT device on " + cpu_name();
    info_.arch = "simt";
    info_.image = simt::kChecked ? "host-checked" : "host";
    info_.n_sms = static_cast<int>(n_workers);
    info_.memory_bytes = budget_bytes_;
    info_.why_no_gpu = why_no_gpu;
  }
  const DeviceInfo& info() const override { return info_; }
  std::unique_ptr<Stream> create_stream() override;
  std::unique_ptr<Event> create_event() override { return std::make_unique<SimtEvent>(); }
  void* allocate_pinned(std::size_t bytes) override {
    void* memory = std::aligned_alloc(256, (bytes + 255) / 256 * 256);
    if (memory == nullptr) throw OutOfMemory("no host memory for " + std::to_string(bytes) + " pinned bytes");
    return memory;
  }
  void release_pinned(void* pointer) noexcept override { std::free(pointer); }
  std::size_t free_bytes() const override {
    return std::min<std::size_t>(left_of_budget(), free_host_memory() / kHostBytesPerByte);
  }

  using Device::count_copy;
  using Device::count_launch;
  using Device::count_synchronization;

 private:
  std::size_t left_of_budget() const { return budget_bytes_ - std::min(budget_bytes_, held_bytes()); }

  void* allocate_raw(std::size_t bytes, const std::string& owner) override {
    // All of it is committed at once, by what it is filled with: too much, and the system ends the process.
    if (bytes > (bytes < kAlwaysAsked ? left_of_budget() : free_bytes())) throw out_of_memory(bytes, owner);
    void* memory = nullptr;
    if constexpr (simt::kChecked) {
      memory = simt::checker::allocate(bytes, owner);
    } else {
      if (bytes < (std::size_t{1} << 46)) memory = std::aligned_alloc(256, (bytes + 255) / 256 * 256);
      if (memory != nullptr) std::memset(memory, 0xff, bytes);  // NaN: what nobody wrote shows
    }
    if (memory == nullptr) throw out_of_memory(bytes, owner);
    return memory;
  }
  void* allocate_sparse_raw(std::size_t bytes, const std::string& owner) override {
    const auto refuse = [&](const std::string& why) {
      return Error("SIMT device: no sparse memory for " + std::to_string(bytes) + " bytes of '" + owner +
                   "': " + why);
    };
    if constexpr (simt::kChecked) {
      throw refuse("the checker takes notes of every byte");
    } else {
      // As much lies before it: where an index that became negative leads.
      if (bytes >= std::size_t{1} << 45) throw refuse("more than the address space");
      const std::size_t half = (bytes + kSparseUnit - 1) / kSparseUnit * kSparseUnit;
      void* const whole =
          mmap(nullptr, 2 * half, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
      if (whole == MAP_FAILED) throw refuse(std::strerror(errno));
      void* const memory = static_cast<std::byte*>(whole) + half;
      const std::lock_guard lock(sparse_mutex_);
      sparse_.emplace(memory, half);
      return memory;
    }
  }
  void release_raw(void* pointer) noexcept override {
    {
      const std::lock_guard lock(sparse_mutex_);
      if (const auto found = sparse_.find(pointer); found != sparse_.end()) {
        munmap(static_cast<std::byte*>(pointer) - found->second, 2 * found->second);
        sparse_.erase(found);
        return;
      }
    }
    if constexpr (simt::kChecked) {
      simt::checker::release(static_cast<std::byte*>(pointer));
    } else {
      std::free(pointer);
    }
  }
  DeviceInfo info_;
  simt::Order order_;
  unsigned n_workers_;
  std::mutex sparse_mutex_;
  std::map<void*, std::size_t> sparse_;  // to the bytes mapped on each side of the address
  std::size_t budget_bytes_;
};

/// A queue with a thread of its own, which is the first of its executor's workers.
class SimtStream final : public Stream {
 public:
  SimtStream(SimtDevice& device, simt::Order order, unsigned n_workers)
      : device_(device), thread_([this, order, n_workers] { serve(order, n_workers); }) {}
  ~SimtStream() override {
    {
      const std::lock_guard lock(mutex_);
      stop_ = true;
    }
    changed_.notify_all();
    thread_.join();
    if constexpr (simt::kChecked) simt::checker::host_waited(clock_->times);
  }

  void copy_to_device(void* device, const void* host, std::size_t bytes) override {
    device_.count_copy();
    const auto write = [this, device, bytes](const void* from) {
      if constexpr (simt::kChecked) {
        if (!simt::checker::host_wrote(device, bytes, reports_)) return;
      }
      std::memcpy(device, from, bytes);
    };
    if (bytes <= kCopiedAtCall) {
      std::vector<std::byte> copy(static_cast<const std::byte*>(host),
                                  static_cast<const std::byte*>(host) + bytes);
      push([write, copy = std::move(copy)](simt::Executor&) { write(copy.data()); });
    } else {
      push([write, host](simt::Executor&) { write(host); });
    }
  }
  void copy_to_host(void* host, const void* device, std::size_t bytes) override {
    device_.count_copy();
    push([this, host, device, bytes](simt::Executor&) {
      if constexpr (simt::kChecked) {
        if (!simt::checker::host_reads(device, bytes, reports_)) return;
      }
      std::memcpy(host, device, bytes);
    });
  }
  void fill(void* device, std::uint8_t byte, std::size_t bytes) override {
    push([this, device, byte, bytes](simt::Executor&) {
      if constexpr (simt::kChecked) {
        if (!simt::checker::host_wrote(device, bytes, reports_)) return;
      }
      std::memset(device, byte, bytes);
    });
  }
  void record(Event& event) override {
    const auto recording = std::make_shared<Recording>();
    dynamic_cast<SimtEvent&>(event).last = recording;
    push([this, recording](simt::Executor&) { recording->pass(times_so_far()); });
  }
  void wait(const Event& event) override {
    push([this, recording = dynamic_cast<const SimtEvent&>(event).last](simt::Executor&) {
      comes_after(recording->wait());
    });
  }
  void synchronize() override {
    device_.count_synchronization();
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return jobs_.empty() && !busy_; });
    if constexpr (simt::kChecked) simt::checker::host_waited(clock_->times);
    if (reports_.empty()) return;
    std::vector<simt::Report> found;
    std::swap(found, reports_);
    throw KernelFault(std::move(found));
  }

  void launch_erased(const KernelRef& kernel, const LaunchConfig& config, const void* params,
                     std::size_t bytes) override {
    check(kernel, config);
    device_.count_launch();
    std::vector<std::byte> copy(static_cast<const std::byte*>(params),
                                static_cast<const std::byte*>(params) + bytes);
    KernelRef called = kernel;
    called.function = substituted(kernel);
    push([this, called, config, copy = std::move(copy)](simt::Executor& executor) {
      simt::Launch launch;
      launch.kernel = called.name;
      launch.function = called.function;
      launch.call = called.call;
      launch.params = copy.data();
      launch.grid_x = config.grid.x;
      launch.grid_y = config.grid.y;
      launch.block = config.block;
      launch.shared_bytes = config.shared_bytes;
      launch.resident = config.resident;
      launch.first_block = config.unread_blocks;
      std::vector<simt::Report> found = executor.run(launch);
      reports_.insert(reports_.end(), found.begin(), found.end());
    });
  }

 private:
  using Job = std::function<void(simt::Executor&)>;

  /// What sm_52 would refuse is refused here too.
  static void check(const KernelRef& kernel, const LaunchConfig& config) {
    const auto refuse = [&](const std::string& what) {
      throw KernelFault({{simt::Fault::resources, kernel.name, 0, 0, 0, "launch", 0, what}});
    };
    if (config.block == 0 || config.block % simt::kWarpSize != 0 || config.block > simt::kMaxThreads) {
      refuse(std::to_string(config.block) + " threads a block; whole warps, 32 to 1024, are possible");
    }
    if (config.grid.x == 0 || config.grid.y == 0 || config.grid.y > 65535) {
      refuse("a grid of " + std::to_string(config.grid.x) + " x " + std::to_string(config.grid.y));
    }
    if (config.unread_blocks >= std::uint64_t{config.grid.x} * config.grid.y ||
        (config.resident && config.unread_blocks > 0)) {
      refuse(std::to_string(config.unread_blocks) + " unread blocks of " + std::to_string(config.grid.x) +
             " x " + std::to_string(config.grid.y));
    }
    if (config.shared_bytes > simt::kSharedBytes) {
      refuse(std::to_string(config.shared_bytes) + " bytes of dynamic shared memory; a block has " +
             std::to_string(simt::kSharedBytes));
    }
    if (!config.resident) return;
    unsigned per_sm = std::min(kThreadsPerSm / config.block, kBlocksPerSm);
    if (config.shared_bytes != 0) per_sm = std::min(per_sm, kSharedPerSm / config.shared_bytes);
    const unsigned blocks = config.grid.x * config.grid.y;
    if (blocks > per_sm * kSms) {
      refuse(std::to_string(blocks) + " resident blocks; at most " + std::to_string(per_sm * kSms) +
             " fit at once");
    }
  }

  // The stream's place in time, kept by the checked build alone.
  static std::unique_ptr<simt::checker::StreamClock> make_clock() {
    if constexpr (simt::kChecked) return std::make_unique<simt::checker::StreamClock>();
    return nullptr;
  }
  simt::checker::Times times_so_far() const {
    if constexpr (simt::kChecked) return clock_->times;
    return {};
  }
  void comes_after(const simt::checker::Times& times) {
    if constexpr (simt::kChecked) simt::checker::join(clock_->times, times);
  }

  void push(Job job) {
    if constexpr (simt::kChecked) {  // what the host has waited for by now comes before
      job = [this, times = simt::checker::host_times(), job = std::move(job)](simt::Executor& executor) {
        comes_after(times);
        job(executor);
      };
    }
    {
      const std::lock_guard lock(mutex_);
      jobs_.push_back(std::move(job));
    }
    changed_.notify_all();
  }

  void serve(simt::Order order, unsigned n_workers) {
    simt::Executor executor(n_workers, order);
    std::unique_lock lock(mutex_);
    if constexpr (simt::kChecked) {
      simt::checker::enter(clock_.get());
    }
    for (;;) {
      changed_.wait(lock, [&] { return stop_ || !jobs_.empty(); });
      if (jobs_.empty()) return;
      Job job = std::move(jobs_.front());
      jobs_.pop_front();
      busy_ = true;
      lock.unlock();
      job(executor);
      lock.lock();
      busy_ = false;
      if (jobs_.empty()) changed_.notify_all();
    }
  }

  SimtDevice& device_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<Job> jobs_;
  std::vector<simt::Report> reports_;  // touched by the stream's thread, and by others only while it is idle
  std::unique_ptr<simt::checker::StreamClock> clock_ = make_clock();  // of the checked build
  bool busy_ = false;
  bool stop_ = false;
  std::thread thread_;  // last: it uses all of the above
};

std::unique_ptr<Stream> SimtDevice::create_stream() {
  return std::make_unique<SimtStream>(*this, order_, n_workers_);
}

}  // namespace

std::unique_ptr<Device> open_simt_device(const DeviceOptions& options, const std::string& why_no_gpu) {
  const unsigned cores = std::max(1u, std::thread::hardware_concurrency());
  const unsigned workers = options.simt_workers == 0 ? cores : options.simt_workers;
  if (workers > 256) throw UsageError("--workers " + std::to_string(workers) + ": 1 to 256 are possible");
  return std::make_unique<SimtDevice>(options, workers, why_no_gpu);
}

void substitute_kernel(const std::string& name, void (*function)()) {
  const std::lock_guard lock(substitutes_mutex);
  if (function == nullptr) {
    substitutes.erase(name);
  } else {
    substitutes[name] = function;
  }
}

}  // namespace m40llm
