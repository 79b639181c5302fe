#pragma once
#include <cstddef>
#include <cstdint>
#include <string>

#include "engine/device/device.hpp"
#include "engine/error.hpp"

/// The CUDA driver API, opened at run time: a binary starts and does its whole job where there is none. What
/// is declared here is what is used, after the CUDA Driver API reference; names are the driver's own.
namespace m40llm::cuda {

using Result = int;
using Ordinal = int;
using Address = unsigned long long;
using Context = struct ContextObject*;
using Module = struct ModuleObject*;
using Function = struct FunctionObject*;
using StreamHandle = struct StreamObject*;
using EventHandle = struct EventObject*;
using GraphHandle = struct GraphObject*;
using GraphNode = struct GraphNodeObject*;
using GraphExec = struct GraphExecObject*;

constexpr Result kSuccess = 0;
constexpr Result kOutOfMemory = 2;
// Of a module that does not suit the driver or the GPU.
constexpr Result kInvalidImage = 200;
constexpr Result kNoBinaryForGpu = 209;
constexpr Result kInvalidPtx = 218;
constexpr Result kUnsupportedPtxVersion = 222;

/// CUdevice_attribute
enum class DeviceAttribute : int {
  multiprocessor_count = 16,
  ecc_enabled = 32,
  memory_clock_khz = 36,
  memory_bus_bits = 37,
  l2_cache_bytes = 38,
  compute_capability_major = 75,
  compute_capability_minor = 76,
};

/// CUfunction_attribute
enum class FunctionAttribute : int { max_threads_per_block = 0, static_shared_bytes = 1 };

/// CUjit_option, for the log of a failed load.
enum class JitOption : int { error_log = 5, error_log_bytes = 6 };

/// CUDA_KERNEL_NODE_PARAMS_v1: a node of the current context. The second version adds what names another.
struct KernelNodeParams {
  Function function;
  unsigned grid_x, grid_y, grid_z;
  unsigned block_x, block_y, block_z;
  unsigned shared_bytes;
  void** params;  ///< a pointer to each of the kernel's parameters, which the call copies
  void** extra;   ///< null: `params` has them
};

constexpr unsigned kStreamNonBlocking = 1;
constexpr unsigned kEventDefault = 0;  ///< with timing

/// A call that failed: its name, the error's name and what the driver says it means.
class DriverFault : public DeviceFault {
 public:
  DriverFault(const std::string& call, Result result);
  Result result() const { return result_; }

 private:
  Result result_;
};

/// There is no GPU to run on, and why: no driver, one that fails or is too old, or none that it lists.
class NoDevice : public Error {
 public:
  explicit NoDevice(const std::string& why) : Error("no CUDA device: " + why), why_(why) {}
  const std::string& why() const { return why_; }

 private:
  std::string why_;
};

/// libcuda.so.1, open as long as the process runs.
class Library {
 public:
  /// Throws NoDevice where there is none.
  Library();
  void* symbol(const char* name) const;

 private:
  void* handle_;
};

/// One call of the driver. There is no way to call it without looking at the result.
template <class... Args>
class Call {
 public:
  Call(const Library& library, const char* name)
      : name_(name), function_(reinterpret_cast<Result (*)(Args...)>(library.symbol(name))) {}

  /// Throws DriverFault unless it succeeds.
  void operator()(Args... args) const {
    if (const Result result = function_(args...); result != kSuccess) throw DriverFault(name_, result);
  }
  /// For callers that have an answer to a failure.
  [[nodiscard]] Result status(Args... args) const { return function_(args...); }

 private:
  const char* name_;
  Result (*function_)(Args...);
};

/// The calls in use, under the versions of their ABI that drivers since R470 export.
class Driver {
 public:
  /// Opened, and cuInit done, at the first use. Throws NoDevice as long as that fails.
  static const Driver& instance();
  /// The CUDA version it supports: 12090 is 12.9.
  int version() const;
  /// "12.9 (575.51.03)"; without NVML "12.9".
  std::string text() const;

 private:
  Driver() = default;
  Library library_;

 public:
  Call<unsigned> init{library_, "cuInit"};
  Call<int*> driver_version{library_, "cuDriverGetVersion"};
  Call<Result, const char**> error_name{library_, "cuGetErrorName"};
  Call<Result, const char**> error_string{library_, "cuGetErrorString"};

  Call<int*> device_count{library_, "cuDeviceGetCount"};
  Call<Ordinal*, int> device_get{library_, "cuDeviceGet"};
  Call<char*, int, Ordinal> device_name{library_, "cuDeviceGetName"};
  Call<int*, DeviceAttribute, Ordinal> device_attribute{library_, "cuDeviceGetAttribute"};
  Call<std::size_t*, Ordinal> device_total_memory{library_, "cuDeviceTotalMem_v2"};
  Call<char*, int, Ordinal> device_pci_bus_id{library_, "cuDeviceGetPCIBusId"};

  Call<Context*, Ordinal> primary_context_retain{library_, "cuDevicePrimaryCtxRetain"};
  Call<Ordinal> primary_context_release{library_, "cuDevicePrimaryCtxRelease_v2"};
  Call<Context> context_set_current{library_, "cuCtxSetCurrent"};

  Call<Module*, const void*, unsigned, JitOption*, void**> module_load{library_, "cuModuleLoadDataEx"};
  Call<Module> module_unload{library_, "cuModuleUnload"};
  Call<Function*, Module, const char*> module_function{library_, "cuModuleGetFunction"};
  Call<int*, FunctionAttribute, Function> function_attribute{library_, "cuFuncGetAttribute"};
  Call<int*, Function, int, std::size_t> occupancy{library_, "cuOccupancyMaxActiveBlocksPerMultiprocessor"};
  Call<Function, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned, StreamHandle, void**,
       void**>
      launch{library_, "cuLaunchKernel"};

  Call<GraphHandle*, unsigned> graph_create{library_, "cuGraphCreate"};
  Call<GraphNode*, GraphHandle, const GraphNode*, std::size_t, const KernelNodeParams*> graph_add_kernel{
      library_, "cuGraphAddKernelNode"};
  Call<GraphExec*, GraphHandle, unsigned long long> graph_instantiate{library_,
                                                                      "cuGraphInstantiateWithFlags"};
  Call<GraphHandle> graph_destroy{library_, "cuGraphDestroy"};
  Call<GraphExec, StreamHandle> graph_launch{library_, "cuGraphLaunch"};
  Call<GraphExec> graph_exec_destroy{library_, "cuGraphExecDestroy"};

  Call<Address*, std::size_t> memory_allocate{library_, "cuMemAlloc_v2"};
  Call<Address> memory_free{library_, "cuMemFree_v2"};
  Call<std::size_t*, std::size_t*> memory_info{library_, "cuMemGetInfo_v2"};
  Call<void**, std::size_t, unsigned> host_allocate{library_, "cuMemHostAlloc"};
  Call<void*> host_free{library_, "cuMemFreeHost"};
  Call<Address, const void*, std::size_t, StreamHandle> copy_to_device{library_, "cuMemcpyHtoDAsync_v2"};
  Call<void*, Address, std::size_t, StreamHandle> copy_to_host{library_, "cuMemcpyDtoHAsync_v2"};
  Call<Address, unsigned char, std::size_t, StreamHandle> fill{library_, "cuMemsetD8Async"};

  Call<StreamHandle*, unsigned> stream_create{library_, "cuStreamCreate"};
  Call<StreamHandle> stream_synchronize{library_, "cuStreamSynchronize"};
  Call<StreamHandle> stream_destroy{library_, "cuStreamDestroy_v2"};
  Call<StreamHandle, EventHandle, unsigned> stream_wait{library_, "cuStreamWaitEvent"};
  Call<EventHandle*, unsigned> event_create{library_, "cuEventCreate"};
  Call<EventHandle, StreamHandle> event_record{library_, "cuEventRecord"};
  Call<EventHandle> event_synchronize{library_, "cuEventSynchronize"};
  Call<float*, EventHandle, EventHandle> event_elapsed_ms{library_, "cuEventElapsedTime"};
  Call<EventHandle> event_destroy{library_, "cuEventDestroy_v2"};
};

}  // namespace m40llm::cuda
