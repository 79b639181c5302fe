#pragma once
#include <cstddef>
#include <span>

#include "engine/device/cuda/cuda_device.hpp"
#include "engine/device/graph.hpp"

namespace m40llm::cuda {

/// A CUDA graph: a chain of kernel nodes, each behind the one before it.
class CudaGraph final : public Graph {
 public:
  CudaGraph(CudaDevice& device, std::span<const Launch> launches);
  /// One that still runs is freed when it has ended.
  ~CudaGraph() override;
  CudaGraph(const CudaGraph&) = delete;
  CudaGraph& operator=(const CudaGraph&) = delete;

  std::size_t n_kernels() const override { return n_kernels_; }
  GraphExec handle() const { return handle_; }
  /// Null: it has none.
  const char* last_kernel() const { return last_kernel_; }

  /// The graph, which must be of this device.
  static const CudaGraph& of(const Graph& graph, const CudaDevice& device);

 private:
  const CudaDevice& device_;
  std::size_t n_kernels_;
  const char* last_kernel_ = nullptr;
  GraphExec handle_ = nullptr;
};

}  // namespace m40llm::cuda
