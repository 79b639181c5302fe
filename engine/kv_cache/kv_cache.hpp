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
      : layout_(layout(h, n_positions)),
        layer_stride_(static_cast<std::size_t>(layout_.sequence_stride)),
        k_(device, layer_stride_ * static_cast<std::size_t>(h.n_layers), "kv_cache"),
        v_(device, layer_stride_ * static_cast<std::size_t>(h.n_layers), "kv_cache") {}

  /// A layer's view without its memory: what sizes follow from.
  static KvView layout(const Hparams& h, int n_positions) {
    const int position_stride = h.n_kv_heads * h.head_dim;
    return {nullptr,         nullptr,    static_cast<long long>(n_positions) * position_stride,
            position_stride, h.head_dim, n_positions};
  }

  /// What the cache of a model will hold.
  static std::uint64_t bytes(const Hparams& h, int n_positions) {
    return 2 * sizeof(half) * static_cast<std::uint64_t>(n_positions) *
           static_cast<std::uint64_t>(h.n_layers) * static_cast<std::uint64_t>(h.n_kv_heads * h.head_dim);
  }

  int n_positions() const { return layout_.n_positions; }
  /// What kernels take of a layer; valid as long as this object.
  KvView view(int layer) const {
    const std::size_t start = layer_stride_ * static_cast<std::size_t>(layer);
    KvView view = layout_;
    view.k = k_.data() + start;
    view.v = v_.data() + start;
    return view;
  }

 private:
  KvView layout_;
  std::size_t layer_stride_;
  Buffer<half> k_, v_;
};

}  // namespace m40llm
