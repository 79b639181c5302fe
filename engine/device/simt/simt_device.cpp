#include "engine/device/simt/simt_device.hpp"

#include <sys/mman.h>

#include <cerrno>
#include <chrono>
#include <condition_variable>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <memory>
#include <system_error>
#include <thread>

#include "engine/device/image.hpp"
#include "engine/device/launch_check.hpp"
#include "engine/device/memory.hpp"
#include "engine/device/occupancy.hpp"
#include "engine/device/pinned_ranges.hpp"
#include "engine/device/simt/work_queue.hpp"
#include "kernels/chip.hpp"
#include "kernels/simt/activity.hpp"
#include "kernels/simt/checker.hpp"
#include "kernels/simt/executor.hpp"

namespace m40llm {
namespace {

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
    for (simt::Activity::Stream* stream : streams_) stream->state.store(simt::Activity::State::moves);
    if (n_hosts_ != 0) activity_->host_goes_on(n_hosts_);
    changed_.notify_all();
  }
  /// For a thread of the host.
  simt::checker::Times wait(simt::Activity& activity) {
    std::unique_lock lock(mutex_);
    if (!passed_) {
      activity_ = &activity;
      ++n_hosts_;
      activity.host_waits();
    }
    changed_.wait(lock, [&] { return passed_; });
    return times_;
  }
  /// For a stream's thread.
  simt::checker::Times wait(simt::Activity::Stream& stream) {
    std::unique_lock lock(mutex_);
    if (!passed_) {
      streams_.push_back(&stream);
      stream.state.store(simt::Activity::State::still);
    }
    changed_.wait(lock, [&] { return passed_; });
    return times_;
  }
  std::chrono::steady_clock::time_point at(simt::Activity& activity) {
    wait(activity);
    return at_;
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  bool passed_ = false;
  std::chrono::steady_clock::time_point at_;
  simt::checker::Times times_;
  std::vector<simt::Activity::Stream*> streams_;  // that wait
  unsigned n_hosts_ = 0;                          // threads of the host that wait,
  simt::Activity* activity_ = nullptr;            // for this device
};

class SimtEvent final : public Event {
 public:
  explicit SimtEvent(simt::Activity& activity) : activity_(activity) {
    last->pass({});  // an event nobody recorded holds nobody up
  }
  void synchronize() override {
    const simt::checker::Times passed = last->wait(activity_);
    if constexpr (simt::kChecked) simt::checker::host_waited(passed);
  }
  double elapsed_us(const Event& earlier) const override {
    const auto& other = of(earlier, activity_);
    return std::chrono::duration<double, std::micro>(last->at(activity_) - other.last->at(activity_)).count();
  }
  /// The event, which must be of this device.
  static const SimtEvent& of(const Event& event, const simt::Activity& activity) {
    const auto* ours = dynamic_cast<const SimtEvent*>(&event);
    if (ours == nullptr || &ours->activity_ != &activity)
      throw std::logic_error("an event of another device");
    return *ours;
  }

  std::shared_ptr<Recording> last = std::make_shared<Recording>();

 private:
  simt::Activity& activity_;
};

/// What an M40 would refuse is refused here too. A kernel without an image (of a test) is taken to need no
/// registers and no shared memory of its own; what of that it has, it asks for when it runs.
void check(const KernelRef& kernel, const LaunchConfig& config) {
  const KernelResources* const found = find_resources(kGm200.arch, kernel.name);
  const KernelResources needs = found != nullptr ? *found : KernelResources{};
  check_launch(kernel.name, config, needs.static_shared_bytes);
  const int per_sm = occupancy(kGm200, needs, config).blocks_per_sm;
  if (per_sm == 0) {
    refuse_launch(kernel.name, config,
                  "its " + std::to_string(needs.registers) + " registers a thread are more than an SM of " +
                      kGm200.arch + " has for one block");
  }
  check_resident(kernel.name, config, per_sm, kGm200.n_sms);
  if (config.unread_blocks >= std::uint64_t{config.grid.x} * config.grid.y ||
      (config.resident && config.unread_blocks > 0)) {
    refuse_launch(kernel.name, config,
                  std::to_string(config.unread_blocks) +
                      " unread blocks; expected fewer than the grid has, and none "
                      "of a resident one");
  }
}

/// The launches themselves, taken one after the other at every launch of the graph.
class SimtGraph final : public Graph {
 public:
  SimtGraph(const Device& device, std::span<const Launch> launches)
      : launches_(launches.begin(), launches.end()), device_(device) {
    check_kernels(launches);
    for (const Launch& launch : launches) check(launch.kernel, launch.config);
  }
  std::size_t n_kernels() const override { return launches_.size(); }
  const std::vector<Launch>& launches() const { return launches_; }
  /// The graph, which must be of this device.
  static const SimtGraph& of(const Graph& graph, const Device& device) {
    const auto* ours = dynamic_cast<const SimtGraph*>(&graph);
    if (ours == nullptr || &ours->device_ != &device) throw std::logic_error("a graph of another device");
    return *ours;
  }

 private:
  std::vector<Launch> launches_;
  const Device& device_;
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
  std::unique_ptr<Event> create_event() override { return std::make_unique<SimtEvent>(activity_); }
  std::unique_ptr<Graph> create_graph(std::span<const Launch> launches) override {
    return std::make_unique<SimtGraph>(*this, launches);
  }
  void* allocate_pinned(std::size_t bytes) override {
    void* memory = nullptr;
    if constexpr (simt::kChecked) {
      memory = simt::checker::allocate_pinned(bytes);
    } else {
      memory = plain_memory(bytes);
    }
    if (memory == nullptr) throw OutOfMemory("no host memory for " + std::to_string(bytes) + " pinned bytes");
    pinned_.add(memory, bytes);
    return memory;
  }
  void release_pinned(void* pointer) noexcept override {
    pinned_.remove(pointer);
    release_raw(pointer);
  }
  std::size_t free_bytes() const override {
    return std::min<std::size_t>(left_of_budget(), free_host_memory() / kHostBytesPerByte);
  }
  bool is_pinned(const void* memory, std::size_t bytes) const { return pinned_.hold(memory, bytes); }
  simt::Activity& activity() { return activity_; }
  void add(std::shared_ptr<WorkQueue> queue) {
    const std::lock_guard lock(queues_mutex_);
    queues_.push_back(std::move(queue));
  }
  void remove(const std::shared_ptr<WorkQueue>& queue) {
    const std::lock_guard lock(queues_mutex_);
    std::erase(queues_, queue);
  }

  using Device::count_copy;
  using Device::count_launch;
  using Device::count_synchronization;

 private:
  std::size_t left_of_budget() const { return budget_bytes_ - std::min(budget_bytes_, held_bytes()); }

  static void* plain_memory(std::size_t bytes) {
    if (bytes >= std::size_t{1} << 46) return nullptr;
    return std::aligned_alloc(256, std::max<std::size_t>((bytes + 255) / 256 * 256, 256));
  }
  void* allocate_raw(std::size_t bytes, const std::string& owner) override {
    // All of it is committed at once, by what it is filled with: too much, and the system ends the process.
    if (bytes > (bytes < kAlwaysAsked ? left_of_budget() : free_bytes())) throw out_of_memory(bytes, owner);
    void* memory = nullptr;
    if constexpr (simt::kChecked) {
      memory = simt::checker::allocate(bytes, owner);
    } else {
      memory = plain_memory(bytes);
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
    if (pointer == nullptr) return;
    wait_for_streams();
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
  /// Until all that has been submitted is done. Only threads of the host come here: a stream's jobs hold no
  /// memory of the device.
  void wait_for_streams() {
    std::vector<std::pair<std::shared_ptr<WorkQueue>, std::uint64_t>> pending;
    {
      const std::lock_guard lock(queues_mutex_);
      for (const auto& queue : queues_) pending.emplace_back(queue, queue->last());
    }
    for (const auto& [queue, number] : pending) queue->wait(number);
  }

  DeviceInfo info_;
  simt::Order order_;
  unsigned n_workers_;
  std::mutex sparse_mutex_;
  std::map<void*, std::size_t> sparse_;  // to the bytes mapped on each side of the address
  std::size_t budget_bytes_;
  PinnedRanges pinned_;
  simt::Activity activity_;
  std::mutex queues_mutex_;
  std::vector<std::shared_ptr<WorkQueue>> queues_;  // of the streams that live
};

/// A queue with a thread of its own, which is the first of its executor's workers.
class SimtStream final : public Stream {
 public:
  SimtStream(SimtDevice& device, simt::Order order, unsigned n_workers)
      : device_(device),
        queue_(std::make_shared<WorkQueue>(device.activity(), n_workers)),
        executor_(queue_->activity(), order),
        thread_([this] {
          if constexpr (simt::kChecked) simt::checker::enter(clock_.get());
          queue_->serve();
        }) {
    device_.add(queue_);
  }
  ~SimtStream() override {
    wait_for_all();
    device_.remove(queue_);
    queue_->close();
    thread_.join();
  }

  void copy_to_device(void* device, const void* host, std::size_t bytes) override {
    if (bytes == 0) return;
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
      push([write, copy = std::move(copy)] { write(copy.data()); });
      return;
    }
    push([write, host] { write(host); });
    if (!device_.is_pinned(host, bytes)) wait_for_all();
  }
  void copy_to_host(void* host, const void* device, std::size_t bytes) override {
    if (bytes == 0) return;
    device_.count_copy();
    push([this, host, device, bytes] {
      if constexpr (simt::kChecked) {
        if (!simt::checker::host_reads(device, bytes, reports_)) return;
      }
      std::memcpy(host, device, bytes);
    });
    if (!device_.is_pinned(host, bytes)) wait_for_all();
  }
  void fill(void* device, std::uint8_t byte, std::size_t bytes) override {
    if (bytes == 0) return;
    push([this, device, byte, bytes] {
      if constexpr (simt::kChecked) {
        if (!simt::checker::host_wrote(device, bytes, reports_)) return;
      }
      std::memset(device, byte, bytes);
    });
  }
  void record(Event& event) override {
    const auto recording = std::make_shared<Recording>();
    const_cast<SimtEvent&>(SimtEvent::of(event, device_.activity())).last = recording;
    push([this, recording] { recording->pass(times_so_far()); });
  }
  void wait(const Event& event) override {
    push([this, recording = SimtEvent::of(event, device_.activity()).last] {
      comes_after(recording->wait(queue_->activity()));
    });
  }
  void synchronize() override {
    device_.count_synchronization();
    wait_for_all();
    if (reports_.empty()) return;
    std::vector<simt::Report> found;
    std::swap(found, reports_);
    throw KernelFault(std::move(found));
  }

  void launch_erased(const KernelRef& kernel, const LaunchConfig& config, const void* params,
                     std::size_t bytes) override {
    check(kernel, config);
    device_.count_launch(1);
    queue(kernel, config, params, bytes);
  }
  void launch(const Graph& graph) override {
    const SimtGraph& ours = SimtGraph::of(graph, device_);
    device_.count_launch(ours.n_kernels());
    for (const Launch& launch : ours.launches())
      queue(launch.kernel, launch.config, launch.params.data(), launch.params.size());
  }

 private:
  void queue(const KernelRef& kernel, const LaunchConfig& config, const void* params, std::size_t bytes) {
    std::vector<std::byte> copy(static_cast<const std::byte*>(params),
                                static_cast<const std::byte*>(params) + bytes);
    KernelRef called = kernel;
    called.function = substituted(kernel);
    push([this, called, config, copy = std::move(copy)] {
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
      launch.overlaps = config.overlaps;
      launch.host_fed = config.host_fed;
      std::vector<simt::Report> found = executor_.run(launch);
      reports_.insert(reports_.end(), found.begin(), found.end());
    });
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

  /// What a job throws, for want of memory mostly, is a fault of the stream.
  template <class Job>
  void push(Job job) {
    simt::checker::Times times;  // what the host has waited for by now comes before
    if constexpr (simt::kChecked) times = simt::checker::host_times();
    queue_->push([this, times = std::move(times), job = std::move(job)] {
      try {
        comes_after(times);
        job();
      } catch (const std::exception& failure) {
        queue_->activity().state.store(simt::Activity::State::moves);
        reports_.push_back({simt::Fault::device_failed, "a stream", 0, 0, 0, "host", 0, failure.what()});
      }
    });
  }
  void wait_for_all() {
    queue_->wait(queue_->last());
    if constexpr (simt::kChecked) simt::checker::host_waited(clock_->times);
  }

  SimtDevice& device_;
  std::shared_ptr<WorkQueue> queue_;
  std::vector<simt::Report> reports_;  // touched by the stream's thread, and by others only while it is idle
  std::unique_ptr<simt::checker::StreamClock> clock_ = make_clock();  // of the checked build
  simt::Executor executor_;
  std::thread thread_;  // last: it uses all of the above
};

std::unique_ptr<Stream> SimtDevice::create_stream() {
  try {
    return std::make_unique<SimtStream>(*this, order_, n_workers_);
  } catch (const std::system_error& none) {
    throw Error("no stream with " + std::to_string(n_workers_) + " worker threads: " + none.what());
  }
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
