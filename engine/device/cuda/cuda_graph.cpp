#include "engine/device/cuda/cuda_graph.hpp"

#include <stdexcept>
#include <string>

#include "engine/device/launch_check.hpp"

namespace m40llm::cuda {
namespace {

/// What a graph is instantiated from, and needs no longer then.
class Template {
 public:
  explicit Template(const Driver& driver) : driver_(driver) { driver_.graph_create(&handle_, 0); }
  ~Template() { static_cast<void>(driver_.graph_destroy.status(handle_)); }
  Template(const Template&) = delete;
  Template& operator=(const Template&) = delete;

  GraphHandle handle() const { return handle_; }

 private:
  const Driver& driver_;
  GraphHandle handle_ = nullptr;
};

}  // namespace

CudaGraph::CudaGraph(CudaDevice& device, std::span<const Launch> launches)
    : device_(device), n_kernels_(launches.size()) {
  check_kernels(launches);
  const Driver& driver = device.driver_;
  device.enter();
  const Template made(driver);
  GraphNode last = nullptr;
  for (const Launch& launch : launches) {
    const CudaDevice::Loaded& loaded = device.load(launch.kernel.name);
    device.check_launch(launch.kernel.name, loaded, launch.config);
    // The driver copies as many bytes as the kernel's parameter has, and only reads them.
    void* arguments[] = {const_cast<std::byte*>(launch.params.data())};
    const KernelNodeParams params{.function = loaded.function,
                                  .grid_x = launch.config.grid.x,
                                  .grid_y = launch.config.grid.y,
                                  .grid_z = 1,
                                  .block_x = launch.config.block,
                                  .block_y = 1,
                                  .block_z = 1,
                                  .shared_bytes = launch.config.shared_bytes,
                                  .params = arguments,
                                  .extra = nullptr};
    const GraphNode before = last;
    try {
      driver.graph_add_kernel(&last, made.handle(), &before, before == nullptr ? 0 : 1, &params);
    } catch (const DriverFault& fault) {
      throw DeviceFault(describe_launch(launch.kernel.name, launch.config) + ": " + fault.what());
    }
    last_kernel_ = launch.kernel.name;
  }
  driver.graph_instantiate(&handle_, made.handle(), 0);
}

CudaGraph::~CudaGraph() { static_cast<void>(device_.driver_.graph_exec_destroy.status(handle_)); }

const CudaGraph& CudaGraph::of(const Graph& graph, const CudaDevice& device) {
  const auto* ours = dynamic_cast<const CudaGraph*>(&graph);
  if (ours == nullptr || &ours->device_ != &device) throw std::logic_error("a graph of another device");
  return *ours;
}

}  // namespace m40llm::cuda
