#pragma once
#include <memory>
#include <vector>

#include "engine/device/buffer.hpp"
#include "engine/ops/gemv.hpp"
#include "engine/ops/rms_norm.hpp"
#include "engine/ops/variant.hpp"

/// What a fused op must give to the bit: what its separate ops give one after the other, each of which a suite of its
/// own holds against the reference.
namespace m40llm::bench {

class SeparateOps {
 public:
  explicit SeparateOps(Device& device) : device_(device), stream_(device.create_stream()) {}

  /// n zeros.
  Buffer<float>& buffer(std::size_t n) {
    auto& made = *buffers_.emplace_back(std::make_unique<Buffer<float>>(device_, n, "separate ops"));
    stream_->fill(made.data(), 0, made.bytes());
    return made;
  }
  template <class Params>
  void run(const Op<Params>& op, const Params& params) {
    for (const Launch& launch : op.default_variant(params).launches(params, device_.n_sms(), {}))
      stream_->launch(launch);
  }
  /// x (width) normalized, zeros behind it up to `stride`.
  const float* normed(const float* x, const float* weight, int width, int stride, float eps) {
    Buffer<float>& y = buffer(static_cast<std::size_t>(stride));
    run(kRmsNorm, RmsNormParams{x, weight, y.data(), 1, width, eps});
    return y.data();
  }
  float* product(const Matrix& a, const float* x, Activations activations) {
    Buffer<float>& y = buffer(static_cast<std::size_t>(a.rows));
    run(gemv_op(a.format, activations), GemvParams{a, x, y.data()});
    return y.data();
  }
  template <class T>
  std::vector<T> download(const T* from, std::size_t n) {
    std::vector<T> values(n);
    stream_->copy_to_host(values.data(), from, n * sizeof(T));
    stream_->synchronize();
    return values;
  }

 private:
  Device& device_;
  std::unique_ptr<Stream> stream_;
  std::vector<std::unique_ptr<Buffer<float>>> buffers_;
};

}  // namespace m40llm::bench
