#include "engine/model/weights.hpp"

#include <cstring>

namespace m40llm {

std::vector<WeightBytes> weights_of(const gguf::File& file, const Hparams& h) {
  std::vector<WeightBytes> weights;
  for (const NamedTensor& named : tensors_of(h)) {
    const gguf::Tensor* const tensor = file.find_tensor(named.name);
    if (tensor == nullptr || named.row->role == Role::rope_factors) continue;
    const std::uint64_t bytes = named.row->is_vector()
                                    ? tensor->bytes
                                    : packed_bytes(tensor->type, tensor->shape[1], tensor->shape[0]);
    weights.push_back({tensor, named, bytes});
  }
  return weights;
}

std::vector<float> rope_factors(const gguf::File& file, const Hparams& h) {
  for (const NamedTensor& named : tensors_of(h)) {
    const gguf::Tensor* const tensor = file.find_tensor(named.name);
    if (tensor == nullptr || named.row->role != Role::rope_factors) continue;
    const std::vector<std::byte> data = file.read(*tensor);
    std::vector<float> factors(tensor->elements());
    std::memcpy(factors.data(), data.data(), data.size());
    return factors;
  }
  return {};
}

Weights::Weights(Device& device, Stream& stream, const gguf::File& file, const Hparams& h) {
  for (const WeightBytes& weight : weights_of(file, h)) {
    const Place place{weight.named.row->role, weight.named.layer};
    if (weight.named.row->is_vector()) {
      const std::vector<std::byte> data = file.read(*weight.tensor);
      Buffer<float> buffer(device, weight.tensor->elements(), "weights");
      stream.copy_to_device(buffer.data(), data.data(), data.size());
      stream.synchronize();
      vectors_.emplace(place, std::move(buffer));
    } else {
      matrices_.emplace(place, DeviceMatrix(device, stream, file, *weight.tensor, "weights"));
    }
  }
}

const DeviceMatrix* Weights::find_matrix(Role role, int layer) const {
  const auto it = matrices_.find({role, layer});
  return it == matrices_.end() ? nullptr : &it->second;
}

const Buffer<float>* Weights::find_vector(Role role, int layer) const {
  const auto it = vectors_.find({role, layer});
  return it == vectors_.end() ? nullptr : &it->second;
}

}  // namespace m40llm
