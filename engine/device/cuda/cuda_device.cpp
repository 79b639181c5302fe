#include "engine/device/cuda/cuda_device.hpp"

#include <algorithm>
#include <array>
#include <charconv>
#include <cstring>
#include <optional>
#include <set>

#include "engine/device/cuda/cuda_graph.hpp"
#include "engine/device/cuda/driver_needed.hpp"
#include "engine/device/launch_check.hpp"
#include "engine/device/memory.hpp"
#include "engine/error.hpp"
#include "kernels/chip.hpp"

namespace m40llm::cuda {
namespace {

// Copies up to this size let go of their source at once (Stream::copy_to_device).
constexpr std::size_t kTakenAtOnce = 64 * 1024;

struct Arch {
  bool ptx = false;
  int major = 0;
  int minor = 0;
  bool exact = false;  ///< a letter behind: of this GPU's own instructions
};

std::optional<Arch> parse_arch(std::string_view text) {
  Arch arch;
  arch.ptx = text.starts_with("compute_");
  if (!arch.ptx && !text.starts_with("sm_")) return std::nullopt;
  text.remove_prefix(arch.ptx ? 8 : 3);
  int number = 0;
  const auto [end, failure] = std::from_chars(text.data(), text.data() + text.size(), number);
  const auto rest = text.data() + text.size() - end;
  if (failure != std::errc() || number < 10 || rest > 1) return std::nullopt;
  arch.major = number / 10;
  arch.minor = number % 10;
  arch.exact = rest == 1;
  return arch;
}

Address address(const void* pointer) { return reinterpret_cast<Address>(pointer); }

int attribute_or_zero(const Driver& driver, DeviceAttribute attribute, Ordinal device) {
  int value = 0;
  return driver.device_attribute.status(&value, attribute, device) == kSuccess ? value : 0;
}

}  // namespace

std::vector<Gpu> list_gpus() {
  const Driver& driver = Driver::instance();
  std::vector<Gpu> gpus;
  try {
    int count = 0;
    driver.device_count(&count);
    for (int i = 0; i < count; ++i) {
      Ordinal device = 0;
      driver.device_get(&device, i);
      std::array<char, 256> name{};
      driver.device_name(name.data(), static_cast<int>(name.size()) - 1, device);
      Gpu gpu{.ordinal = i, .name = name.data()};
      driver.device_attribute(&gpu.major, DeviceAttribute::compute_capability_major, device);
      driver.device_attribute(&gpu.minor, DeviceAttribute::compute_capability_minor, device);
      gpus.push_back(gpu);
    }
  } catch (const DriverFault& fault) {
    throw NoDevice(fault.what());
  }
  if (gpus.empty()) throw NoDevice("the driver lists none; " + drivers_needed("CUDA " + driver.text()));
  return gpus;
}

bool runs_on(std::string_view text, const Gpu& gpu) {
  const std::optional<Arch> arch = parse_arch(text);
  if (!arch) return false;
  const bool same_major = arch->major == gpu.major;
  if (arch->exact) return same_major && arch->minor == gpu.minor;
  if (same_major) return arch->minor <= gpu.minor;
  return arch->ptx && arch->major < gpu.major;
}

std::string choose_image(std::span<const Image> images, const std::string& wanted, const Gpu& gpu) {
  std::set<std::string> archs;
  for (const Image& image : images) archs.emplace(image.arch);
  std::string known;
  for (const std::string& arch : archs) known += (known.empty() ? "" : ", ") + arch;
  const std::string who = gpu.name + " (" + gpu.arch() + ")";

  if (wanted != "auto") {
    if (!archs.contains(wanted)) throw Error("no image '" + wanted + "' in this build; it has " + known);
    if (runs_on(wanted, gpu)) return wanted;
    const std::optional<Arch> arch = parse_arch(wanted);
    const bool machine_code = arch && !arch->ptx;
    throw Error(
        "image '" + wanted + "' does not run on " + who + ": " +
        (machine_code ? "machine code runs on the GPUs it was made for" : "the GPU is older than the image"));
  }

  const auto rank = [](const std::string& text) {
    const std::optional<Arch> arch = parse_arch(text);
    return std::array{arch->ptx ? 0 : 1, arch->major, arch->minor, arch->exact ? 1 : 0};
  };
  const std::string* best = nullptr;
  for (const std::string& arch : archs) {
    if (runs_on(arch, gpu) && (best == nullptr || rank(*best) < rank(arch))) best = &arch;
  }
  if (best == nullptr) throw Error("no image of this build runs on " + who + "; it has " + known);
  return *best;
}

class CudaEvent final : public Event {
 public:
  explicit CudaEvent(const CudaDevice& device, const Driver& driver, Context context)
      : device_(device), driver_(driver), context_(context) {
    driver_.context_set_current(context_);
    driver_.event_create(&handle_, kEventDefault);
  }
  // A destructor has no one to tell; an error of the device itself comes back at the next call.
  ~CudaEvent() override { static_cast<void>(driver_.event_destroy.status(handle_)); }
  CudaEvent(const CudaEvent&) = delete;
  CudaEvent& operator=(const CudaEvent&) = delete;

  void synchronize() override {
    driver_.context_set_current(context_);
    driver_.event_synchronize(handle_);
  }

  double elapsed_us(const Event& earlier) const override {
    float ms = 0;
    driver_.context_set_current(context_);
    driver_.event_elapsed_ms(&ms, handle_of(earlier, device_), handle_);
    return 1e3 * static_cast<double>(ms);
  }

  /// The driver's handle of an event, which must be of this device.
  static EventHandle handle_of(const Event& event, const CudaDevice& device) {
    const auto* ours = dynamic_cast<const CudaEvent*>(&event);
    if (ours == nullptr || &ours->device_ != &device) throw std::logic_error("an event of another device");
    return ours->handle_;
  }

 private:
  const CudaDevice& device_;
  const Driver& driver_;
  Context context_;
  EventHandle handle_ = nullptr;
};

class CudaStream final : public Stream {
 public:
  explicit CudaStream(CudaDevice& device) : device_(device), driver_(device.driver_) {
    device_.enter();
    driver_.stream_create(&handle_, kStreamNonBlocking);
  }
  ~CudaStream() override { static_cast<void>(driver_.stream_destroy.status(handle_)); }
  CudaStream(const CudaStream&) = delete;
  CudaStream& operator=(const CudaStream&) = delete;

  void copy_to_device(void* device, const void* host, std::size_t bytes) override {
    if (bytes == 0) return;
    device_.enter();
    const void* source = host;
    if (bytes <= kTakenAtOnce) {
      // The driver takes a copy of ordinary memory before it returns, but reads pinned memory later. So small
      // sources go through ordinary memory, whatever they were.
      staging_.resize(bytes);
      std::memcpy(staging_.data(), host, bytes);
      source = staging_.data();
    }
    driver_.copy_to_device(address(device), source, bytes, handle_);
    device_.count_copy();
    if (source == host) let_go(host, bytes);
  }

  void copy_to_host(void* host, const void* device, std::size_t bytes) override {
    if (bytes == 0) return;
    device_.enter();
    driver_.copy_to_host(host, address(device), bytes, handle_);
    device_.count_copy();
    let_go(host, bytes);
  }

  void fill(void* device, std::uint8_t byte, std::size_t bytes) override {
    if (bytes == 0) return;
    device_.enter();
    driver_.fill(address(device), byte, bytes, handle_);
  }

  void record(Event& event) override {
    device_.enter();
    driver_.event_record(CudaEvent::handle_of(event, device_), handle_);
  }

  void wait(const Event& event) override {
    device_.enter();
    driver_.stream_wait(handle_, CudaEvent::handle_of(event, device_), 0);
  }

  void synchronize() override {
    device_.enter();
    device_.count_synchronization();
    wait_for_all();
  }

  void launch_erased(const KernelRef& kernel, const LaunchConfig& config, const void* params,
                     std::size_t) override {
    device_.enter();
    const CudaDevice::Loaded& loaded = device_.load(kernel.name);
    device_.check_launch(kernel.name, loaded, config);
    // The driver copies as many bytes as the kernel's parameter has, and only reads them.
    void* arguments[] = {const_cast<void*>(params)};
    try {
      driver_.launch(loaded.function, config.grid.x, config.grid.y, 1, config.block, 1, 1,
                     config.shared_bytes, handle_, arguments, nullptr);
    } catch (const DriverFault& fault) {
      throw DeviceFault(describe_launch(kernel.name, config) + ": " + fault.what());
    }
    last_kernel_ = kernel.name;
    last_graph_ = 0;
    device_.count_launch(1);
  }

  void launch(const Graph& graph) override {
    const CudaGraph& ours = CudaGraph::of(graph, device_);
    device_.enter();
    driver_.graph_launch(ours.handle(), handle_);
    last_kernel_ = ours.last_kernel();
    last_graph_ = ours.n_kernels();
    device_.count_launch(ours.n_kernels());
  }

 private:
  /// The driver mostly waits for copies of ordinary memory by itself ("might be synchronous"); we promise it.
  void let_go(const void* host, std::size_t bytes) {
    if (!device_.pinned_.hold(host, bytes)) wait_for_all();
  }
  void wait_for_all() {
    try {
      driver_.stream_synchronize(handle_);
    } catch (const DriverFault& fault) {
      throw DeviceFault(std::string(fault.what()) +
                        " (last kernel launched: " + (last_kernel_ == nullptr ? "none" : last_kernel_) +
                        (last_graph_ == 0 ? "" : ", the last of a graph of " + std::to_string(last_graph_)) +
                        ")");
    }
  }

  CudaDevice& device_;
  const Driver& driver_;
  StreamHandle handle_ = nullptr;
  std::vector<std::byte> staging_;
  const char* last_kernel_ = nullptr;
  std::size_t last_graph_ = 0;  // kernels of the graph that it was in
};

CudaDevice::CudaDevice(const Gpu& gpu, const std::string& image) : driver_(Driver::instance()) {
  info_.kind = DeviceKind::cuda;
  info_.name = gpu.name;
  info_.ordinal = gpu.ordinal;
  info_.arch = gpu.arch();
  info_.image = choose_image(images(), image, gpu);
  info_.driver = driver_.text();
  if (const std::string why = driver_too_old(info_.image, driver_.version()); !why.empty())
    throw Error("kernels " + info_.image + " do not run here: " + why + "; " +
                drivers_needed("CUDA " + info_.driver));
  driver_.device_get(&handle_, gpu.ordinal);
  driver_.device_total_memory(&info_.memory_bytes, handle_);
  driver_.device_attribute(&info_.n_sms, DeviceAttribute::multiprocessor_count, handle_);
  info_.l2_bytes =
      static_cast<std::size_t>(attribute_or_zero(driver_, DeviceAttribute::l2_cache_bytes, handle_));
  info_.ecc = attribute_or_zero(driver_, DeviceAttribute::ecc_enabled, handle_) != 0;
  // Two transfers a clock on the bus: 2 x 3.004 GHz x 384 bit is the 288.4 GB/s of an M40.
  info_.bandwidth_bytes_per_s = 2e3 * attribute_or_zero(driver_, DeviceAttribute::memory_clock_khz, handle_) *
                                attribute_or_zero(driver_, DeviceAttribute::memory_bus_bits, handle_) / 8;
  std::array<char, 32> bus_id{};
  driver_.device_pci_bus_id(bus_id.data(), static_cast<int>(bus_id.size()) - 1, handle_);
  info_.pci_id = bus_id.data();
  driver_.primary_context_retain(&context_, handle_);
}

CudaDevice::~CudaDevice() {
  static_cast<void>(driver_.context_set_current.status(context_));
  for (const auto& [image, module] : modules_) static_cast<void>(driver_.module_unload.status(module));
  static_cast<void>(driver_.primary_context_release.status(handle_));
}

std::unique_ptr<Stream> CudaDevice::create_stream() { return std::make_unique<CudaStream>(*this); }
std::unique_ptr<Event> CudaDevice::create_event() {
  return std::make_unique<CudaEvent>(*this, driver_, context_);
}
std::unique_ptr<Graph> CudaDevice::create_graph(std::span<const Launch> launches) {
  return std::make_unique<CudaGraph>(*this, launches);
}

void* CudaDevice::allocate_raw(std::size_t bytes, const std::string& owner) {
  enter();
  Address pointer = 0;
  const Result result = driver_.memory_allocate.status(&pointer, bytes);
  if (result == kOutOfMemory) throw out_of_memory(bytes, owner);
  if (result != kSuccess)
    throw DriverFault("cuMemAlloc of " + std::to_string(bytes) + " bytes for " + owner, result);
  return reinterpret_cast<void*>(pointer);
}

std::size_t CudaDevice::free_bytes() const {
  enter();
  std::size_t free = 0;
  std::size_t total = 0;
  driver_.memory_info(&free, &total);
  return free;
}

void CudaDevice::release_raw(void* pointer) noexcept {
  if (driver_.context_set_current.status(context_) != kSuccess) return;
  static_cast<void>(driver_.memory_free.status(address(pointer)));
}

void* CudaDevice::allocate_pinned(std::size_t bytes) {
  enter();
  void* pointer = nullptr;
  const Result result = driver_.host_allocate.status(&pointer, std::max<std::size_t>(bytes, 1), 0);
  if (result == kOutOfMemory) throw OutOfMemory("not enough memory: the host cannot pin " + in_bytes(bytes));
  if (result != kSuccess) throw DriverFault("cuMemHostAlloc of " + std::to_string(bytes) + " bytes", result);
  pinned_.add(pointer, bytes);
  return pointer;
}

void CudaDevice::release_pinned(void* pointer) noexcept {
  if (pointer == nullptr || driver_.context_set_current.status(context_) != kSuccess) return;
  pinned_.remove(pointer);
  static_cast<void>(driver_.host_free.status(pointer));
}

Module CudaDevice::load_module(const Image& image) {
  if (const auto found = modules_.find(&image); found != modules_.end()) return found->second;
  std::array<char, 8192> log{};
  std::array options = {JitOption::error_log, JitOption::error_log_bytes};
  std::array<void*, 2> values = {log.data(), reinterpret_cast<void*>(log.size() - 1)};
  Module module = nullptr;
  const Result result = driver_.module_load.status(
      &module, image.data.data(), static_cast<unsigned>(options.size()), options.data(), values.data());
  if (result != kSuccess) {
    const std::string text = log.data();
    const bool unsuited = result == kInvalidImage || result == kNoBinaryForGpu || result == kInvalidPtx ||
                          result == kUnsupportedPtxVersion;
    throw DriverFault("cuModuleLoadDataEx of kernels/" + std::string(image.source) + ".cu for " +
                          std::string(image.arch) + (text.empty() ? "" : ", " + text) +
                          (unsuited ? " (" + drivers_needed("CUDA " + info_.driver) + ")" : ""),
                      result);
  }
  modules_.emplace(&image, module);
  return module;
}

const CudaDevice::Loaded& CudaDevice::load(std::string_view kernel) {
  const std::lock_guard lock(mutex_);
  if (const auto found = kernels_.find(kernel); found != kernels_.end()) return found->second;
  const Image* image = find_image(info_.image, kernel);
  if (image == nullptr)
    throw Error("no kernel '" + std::string(kernel) + "' in the images for " + info_.image);
  const Module module = load_module(*image);
  Loaded loaded;
  driver_.module_function(&loaded.function, module, std::string(kernel).c_str());
  driver_.function_attribute(&loaded.max_threads, FunctionAttribute::max_threads_per_block, loaded.function);
  const KernelResources* sm52 = find_resources(kGm200.arch, kernel);
  if (sm52 != nullptr) {
    loaded.static_shared_bytes = sm52->static_shared_bytes;
  } else {
    driver_.function_attribute(&loaded.static_shared_bytes, FunctionAttribute::static_shared_bytes,
                               loaded.function);
  }
  return kernels_.emplace(kernel, loaded).first->second;
}

void CudaDevice::check_launch(std::string_view kernel, const Loaded& loaded,
                              const LaunchConfig& config) const {
  m40llm::check_launch(kernel, config, loaded.static_shared_bytes);
  if (config.block > static_cast<unsigned>(loaded.max_threads)) {
    refuse_launch(
        kernel, config,
        "its registers or launch bounds allow blocks of " + std::to_string(loaded.max_threads) + " threads");
  }
  if (config.resident) {
    int blocks = 0;
    driver_.occupancy(&blocks, loaded.function, static_cast<int>(config.block), config.shared_bytes);
    check_resident(kernel, config, blocks, info_.n_sms);
  }
}

}  // namespace m40llm::cuda
