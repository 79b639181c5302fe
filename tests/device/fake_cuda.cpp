#include "tests/device/fake_cuda.hpp"

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <map>
#include <sstream>
#include <vector>

namespace {

/// Written to a file at the process's end, if one is named.
struct Log {
  std::string text;
  ~Log() {
    if (const char* const path = std::getenv("FAKE_CUDA_LOG")) std::ofstream(path) << text;
  }
} called;
int alive = 0;
int retained = 0;
std::map<void*, std::size_t> device_memory;
std::map<std::string, std::string> function_names;
void* primary_context = nullptr;
thread_local void* current_context = nullptr;

constexpr int kInvalidValue = 1;
constexpr int kOutOfMemory = 2;
constexpr int kNoDevice = 100;
constexpr int kInvalidContext = 201;
constexpr int kNoBinaryForGpu = 209;
constexpr int kInvalidPtx = 218;
constexpr int kUnsupportedPtx = 222;
constexpr int kUnknown = 999;

std::string variable(const char* name, const char* otherwise) {
  const char* const value = std::getenv(name);
  return value == nullptr ? otherwise : value;
}

/// Notes the call; the error it was ordered to give, or 0.
int asked(const std::string& name, const std::string& detail = "") {
  called.text += " " + name + "(" + detail + ")";
  const std::string order = variable("FAKE_CUDA_FAIL", "");
  return order.starts_with(name + "=") ? std::atoi(order.c_str() + name.size() + 1) : 0;
}

/// As asked, for the calls that need the calling thread to have a context.
int asked_in_context(const std::string& name, const std::string& detail = "") {
  const int ordered = asked(name, detail);
  return ordered != 0 ? ordered : current_context == nullptr ? kInvalidContext : 0;
}

std::vector<std::string> gpus() {
  std::istringstream list(variable("FAKE_CUDA_GPUS", "9.0"));
  std::vector<std::string> all;
  for (std::string gpu; std::getline(list, gpu, ',');) all.push_back(gpu);
  return all;
}

std::size_t memory_total() {
  return std::strtoull(variable("FAKE_CUDA_MEMORY", "1048576").c_str(), nullptr, 10);
}

std::size_t memory_free() {
  std::size_t used = 0;
  for (const auto& [pointer, bytes] : device_memory) used += bytes;
  return used > memory_total() ? 0 : memory_total() - used;
}

int make(void** handle) {
  ++alive;
  *handle = std::malloc(16);
  return 0;
}

int destroy(void* handle) {
  --alive;
  std::free(handle);
  return 0;
}

/// A kernel put on the device: its name, configuration, and the first int of its one parameter.
std::string text_of(const void* function, const unsigned* grid, const unsigned* block, unsigned shared,
                    void* const* params) {
  int first = 0;
  std::memcpy(&first, params[0], sizeof first);
  std::ostringstream text;
  text << *static_cast<const std::string*>(function) << " grid " << grid[0] << " " << grid[1] << " "
       << grid[2] << " block " << block[0] << " " << block[1] << " " << block[2] << " shared " << shared
       << " param " << first;
  return text.str();
}

/// CUDA_KERNEL_NODE_PARAMS_v1
struct KernelNode {
  void* function;
  unsigned grid[3];
  unsigned block[3];
  unsigned shared;
  void** params;
  void** extra;
};

}  // namespace

extern "C" {

const char* fake_cuda_log() { return called.text.c_str(); }
void fake_cuda_clear() { called.text.clear(); }
int fake_cuda_alive() { return alive; }

int cuInit(unsigned) {
  const int ordered = asked("cuInit");
  return ordered != 0 ? ordered : gpus().empty() ? kNoDevice : 0;
}
int cuDriverGetVersion(int* version) {
  return *version = std::atoi(variable("FAKE_CUDA_DRIVER", "12090").c_str()), asked("cuDriverGetVersion");
}
int cuGetErrorName(int error, const char** name) {
  const std::map<int, const char*> names = {{kOutOfMemory, "CUDA_ERROR_OUT_OF_MEMORY"},
                                            {kNoDevice, "CUDA_ERROR_NO_DEVICE"},
                                            {kInvalidContext, "CUDA_ERROR_INVALID_CONTEXT"},
                                            {kInvalidPtx, "CUDA_ERROR_INVALID_PTX"},
                                            {kNoBinaryForGpu, "CUDA_ERROR_NO_BINARY_FOR_GPU"},
                                            {kUnsupportedPtx, "CUDA_ERROR_UNSUPPORTED_PTX_VERSION"},
                                            {kUnknown, "CUDA_ERROR_UNKNOWN"},
                                            {700, "CUDA_ERROR_ILLEGAL_ADDRESS"}};
  const auto found = names.find(error);
  if (found == names.end()) return 1;
  static std::string kept;
  kept = found->second;
  *name = kept.c_str();
  return 0;
}
int cuGetErrorString(int, const char** text) { return *text = "as ordered", 0; }

int cuDeviceGetCount(int* count) {
  return *count = static_cast<int>(gpus().size()), asked("cuDeviceGetCount");
}
int cuDeviceGet(int* device, int ordinal) { return *device = ordinal, asked("cuDeviceGet"); }
int cuDeviceGetName(char* name, int size, int device) {
  std::snprintf(name, static_cast<std::size_t>(size), "Fake %d", device);
  return asked("cuDeviceGetName");
}
int cuDeviceGetAttribute(int* value, int attribute, int device) {
  const std::string capability = gpus().at(static_cast<std::size_t>(device));
  const std::map<int, int> values = {{16, 24},
                                     {32, 1},
                                     {36, 3004000},
                                     {37, 384},
                                     {38, 3 << 20},
                                     {75, capability[0] - '0'},
                                     {76, capability[2] - '0'}};
  return *value = values.at(attribute), asked("cuDeviceGetAttribute");
}
int cuDeviceTotalMem_v2(std::size_t* bytes, int) {
  return *bytes = memory_total(), asked("cuDeviceTotalMem");
}
int cuDeviceGetPCIBusId(char* text, int size, int device) {
  std::snprintf(text, static_cast<std::size_t>(size), "0000:%02x:00.0", 0x3b + device);
  return asked("cuDeviceGetPCIBusId");
}

int cuDevicePrimaryCtxRetain(void** context, int) {
  if (const int ordered = asked("cuDevicePrimaryCtxRetain"); ordered != 0) return ordered;
  if (retained++ == 0) make(&primary_context);
  *context = primary_context;
  return 0;
}
int cuDevicePrimaryCtxRelease_v2(int) { return --retained > 0 ? 0 : destroy(primary_context); }
int cuCtxSetCurrent(void* context) { return current_context = context, 0; }

int cuModuleLoadDataEx(void** module, const void* image, unsigned n_options, int* options, void** values) {
  const auto* text = static_cast<const char*>(image);
  const int ordered = asked_in_context("cuModuleLoadDataEx", std::memcmp(text,
                                                                         "\x7f"
                                                                         "ELF",
                                                                         4) == 0
                                                                 ? "cubin"
                                                                 : "ptx");
  if (ordered == 0) return make(module);
  for (unsigned i = 0; i < n_options; ++i) {
    if (options[i] == 5) std::strcpy(static_cast<char*>(values[i]), "ptxas: line 7, as ordered");
  }
  return ordered;
}
int cuModuleUnload(void* module) { return destroy(module); }
int cuModuleGetFunction(void** function, void*, const char* name) {
  *function = &function_names.emplace(name, name).first->second;
  return asked_in_context("cuModuleGetFunction", name);
}
int cuFuncGetAttribute(int* value, int attribute, void*) {
  *value = attribute == 0 ? 512 : 0;
  return asked_in_context("cuFuncGetAttribute");
}
int cuOccupancyMaxActiveBlocksPerMultiprocessor(int* blocks, void*, int, std::size_t) {
  return *blocks = 2, asked_in_context("cuOccupancyMaxActiveBlocksPerMultiprocessor");
}
int cuLaunchKernel(void* function, unsigned x, unsigned y, unsigned z, unsigned bx, unsigned by, unsigned bz,
                   unsigned shared, void*, void** params, void**) {
  const unsigned grid[] = {x, y, z};
  const unsigned block[] = {bx, by, bz};
  return asked_in_context("cuLaunchKernel", text_of(function, grid, block, shared, params));
}

int cuGraphCreate(void** graph, unsigned) {
  const int ordered = asked_in_context("cuGraphCreate");
  return ordered != 0 ? ordered : make(graph);
}
int cuGraphAddKernelNode(void** node, void*, void* const* before, std::size_t n_before,
                         const KernelNode* kernel) {
  // A node is known by its number; one that no graph has comes before none.
  static std::uintptr_t last = 0;
  std::ostringstream detail;
  detail << text_of(kernel->function, kernel->grid, kernel->block, kernel->shared, kernel->params);
  detail << (n_before == 0                              ? " first"
             : *before == reinterpret_cast<void*>(last) ? " behind the last"
                                                        : " elsewhere");
  *node = reinterpret_cast<void*>(++last);
  return kernel->extra != nullptr ? kInvalidValue : asked_in_context("cuGraphAddKernelNode", detail.str());
}
int cuGraphAddDependencies_v2(void*, void* const*, void* const*, const unsigned char* edge, std::size_t n) {
  return asked_in_context(
      "cuGraphAddDependencies_v2",
      std::to_string(n) + " of type " + std::to_string(edge[2]) + " from port " + std::to_string(edge[0]));
}
int cuGraphInstantiateWithFlags(void** exec, void*, unsigned long long flags) {
  const int ordered = asked_in_context("cuGraphInstantiateWithFlags", std::to_string(flags));
  return ordered != 0 ? ordered : make(exec);
}
int cuGraphDestroy(void* graph) { return destroy(graph); }
int cuGraphLaunch(void*, void*) { return asked_in_context("cuGraphLaunch"); }
int cuGraphExecDestroy(void* exec) { return destroy(exec); }

int cuMemAlloc_v2(unsigned long long* pointer, std::size_t bytes) {
  if (const int ordered = asked_in_context("cuMemAlloc", std::to_string(bytes)); ordered != 0) return ordered;
  if (bytes > memory_free()) return kOutOfMemory;
  void* const memory = std::aligned_alloc(256, (bytes + 255) / 256 * 256);
  device_memory[memory] = bytes;
  ++alive;
  *pointer = reinterpret_cast<unsigned long long>(memory);
  return 0;
}
int cuMemFree_v2(unsigned long long pointer) {
  device_memory.erase(reinterpret_cast<void*>(pointer));
  return destroy(reinterpret_cast<void*>(pointer));
}
int cuMemGetInfo_v2(std::size_t* free, std::size_t* total) {
  *free = memory_free();
  *total = memory_total();
  return asked_in_context("cuMemGetInfo");
}
int cuMemHostAlloc(void** pointer, std::size_t bytes, unsigned) {
  if (const int ordered = asked_in_context("cuMemHostAlloc"); ordered != 0) return ordered;
  ++alive;
  *pointer = std::malloc(bytes);
  return 0;
}
int cuMemFreeHost(void* pointer) { return destroy(pointer); }
int cuMemcpyHtoDAsync_v2(unsigned long long device, const void* host, std::size_t bytes, void*) {
  std::memcpy(reinterpret_cast<void*>(device), host, bytes);
  std::ostringstream from;
  from << host;
  return asked_in_context("cuMemcpyHtoDAsync", from.str());
}
int cuMemcpyDtoHAsync_v2(void* host, unsigned long long device, std::size_t bytes, void*) {
  std::memcpy(host, reinterpret_cast<const void*>(device), bytes);
  return asked_in_context("cuMemcpyDtoHAsync");
}
int cuMemsetD8Async(unsigned long long device, unsigned char byte, std::size_t bytes, void*) {
  std::memset(reinterpret_cast<void*>(device), byte, bytes);
  return asked_in_context("cuMemsetD8Async");
}

int cuStreamCreate(void** stream, unsigned flags) {
  const int ordered = asked_in_context("cuStreamCreate", flags == 1 ? "non-blocking" : "blocking");
  return ordered != 0 ? ordered : make(stream);
}
int cuStreamSynchronize(void*) { return asked_in_context("cuStreamSynchronize"); }
int cuStreamDestroy_v2(void* stream) { return destroy(stream); }
int cuStreamWaitEvent(void*, void*, unsigned) { return asked_in_context("cuStreamWaitEvent"); }
int cuEventCreate(void** event, unsigned) {
  const int ordered = asked_in_context("cuEventCreate");
  return ordered != 0 ? ordered : make(event);
}
int cuEventRecord(void*, void*) { return asked_in_context("cuEventRecord"); }
int cuEventSynchronize(void*) { return asked_in_context("cuEventSynchronize"); }
int cuEventElapsedTime(float* ms, void*, void*) {
  return *ms = 0.25f, asked_in_context("cuEventElapsedTime");
}
int cuEventDestroy_v2(void* event) { return destroy(event); }
}
