#pragma once
#include <cstdint>

#include "engine/device/buffer.hpp"
#include "engine/model/hparams.hpp"
#include "kernels/kv_view.h"

namespace m40llm {

/// Keys and values of one sequence, binary16: [layer][position][kv_head][head_dim]. Whoever reads it asks for
/// the view.
class KvCache {
 public:
  KvCache(Device& device, const Hparams& h, int n_positions)
      : n_positions_(n_positions),
        head_stride_(h.head_dim),
        position_stride_(h.n_kv_heads * h.head_dim),
        layer_stride_(static_cast<std::size_t>(n_positions) * static_cast<std::size_t>(position_stride_)),
        k_(device, layer_stride_ * static_cast<std::size_t>(h.n_layers), "kv_cache"),
        v_(device, layer_stride_ * static_cast<std::size_t>(h.n_layers), "kv_cache") {}

  /// What the cache of a model will hold.
  static std::uint64_t bytes(const Hparams& h, int n_positions) {
    return 2 * sizeof(half) * static_cast<std::uint64_t>(n_positions) *
           static_cast<std::uint64_t>(h.n_layers) * static_cast<std::uint64_t>(h.n_kv_heads * h.head_dim);
  }

  int n_positions() const { return n_positions_; }
  /// What kernels take of a layer; valid as long as this object.
  KvView view(int layer) const {
    const std::size_t start = layer_stride_ * static_cast<std::size_t>(layer);
    return {k_.data() + start, v_.data() + start, static_cast<long long>(layer_stride_), position_stride_,
            head_stride_};
  }

 private:
  int n_positions_;
  int head_stride_;
  int position_stride_;
  std::size_t layer_stride_;
  Buffer<half> k_, v_;
};

}  // namespace m40llm
