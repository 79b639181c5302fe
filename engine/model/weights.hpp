#pragma once
#include <cstdint>
#include <map>
#include <utility>
#include <vector>

#include "engine/device/buffer.hpp"
#include "engine/gguf/file.hpp"
#include "engine/model/hparams.hpp"
#include "engine/model/pack.hpp"

namespace m40llm {

/// A model's weights on a device. They hold nothing of a sequence: any number of them can share these.
class Weights {
 public:
  /// Repacks the file's tensors, of which read_hparams() thinks well, and uploads them on `stream`. Waits.
  Weights(Device& device, Stream& stream, const gguf::File& file, const Hparams& h);

  /// Null where the model has none. layer: -1 of the tensors of no layer.
  const DeviceMatrix* find_matrix(Role role, int layer = -1) const;
  const Buffer<float>* find_vector(Role role, int layer = -1) const;

 private:
  using Place = std::pair<Role, int>;
  std::map<Place, DeviceMatrix> matrices_;
  std::map<Place, Buffer<float>> vectors_;
};

/// The file's tensors that go to the device, each with what it takes there.
struct WeightBytes {
  const gguf::Tensor* tensor;
  NamedTensor named;
  std::uint64_t on_device;
};
std::vector<WeightBytes> weights_of(const gguf::File& file, const Hparams& h);

/// rope_freqs.weight: what the angle of each pair is divided by (n_rotated / 2), checked by RopeTable; empty where
/// the model has none. It goes into the table of angles, not to the device.
std::vector<float> rope_factors(const gguf::File& file, const Hparams& h);

}  // namespace m40llm
