#include "tests/language/composed.h"

#include <algorithm>
#include <cstring>
#include <vector>

#include "engine/device/buffer.hpp"
#include "tests/language/checks.hpp"

extern "C" {
void composed(ComposedParams);
void composed_norm(ComposedParams);
void composed_attention(ComposedParams);
void composed_swiglu(ComposedParams);
}

namespace m40llm::testing {
namespace {

constexpr int kRows = 3, kHeads = 4, kKvHeads = 2, kHeadDim = 48, kWidth = kHeads * kHeadDim;
constexpr int kContext = 41, kOfPosition = kKvHeads * kHeadDim;

/// Numbers between -1 and 1.
float number(std::size_t i) {
  return static_cast<float>(static_cast<int>(i * 2654435761u % 2000003u) - 1000001) / 1000001.0f;
}

struct Memory {
  explicit Memory(Device& device)
      : stream(device.create_stream()),
        x(device, kRows * kWidth, "test"),
        weight(device, kWidth, "test"),
        normed(device, kRows * kWidth, "test"),
        attended(device, kRows * kWidth, "test"),
        y(device, kRows * kWidth, "test"),
        k(device, kRows * kContext * kOfPosition, "test"),
        v(device, kRows * kContext * kOfPosition, "test"),
        rows(device, 2 * kRows, "test"),
        barrier(device, 2, "test") {
    upload(x, 1);
    upload(weight, 2);
    std::vector<half> halves(k.size());
    for (std::size_t i = 0; i < halves.size(); ++i)
      halves[i].bits = static_cast<unsigned short>(0x3000 + i * 40503 % 0x0c00 + (i % 3 == 0 ? 0x8000 : 0));
    k.upload(*stream, halves);
    std::ranges::reverse(halves);
    v.upload(*stream, halves);
    rows.upload(*stream, std::vector<int>{2, 0, 1, kContext - 1, 7, 20});  // sequences, positions
    stream->synchronize();
  }
  void upload(const Buffer<float>& buffer, std::size_t seed) const {
    std::vector<float> values(buffer.size());
    for (std::size_t i = 0; i < values.size(); ++i) values[i] = number(i + 7919 * seed);
    buffer.upload(*stream, values);
    stream->synchronize();
  }
  ComposedParams params() const {
    const KvView cache{k.data(), v.data(), kContext * kOfPosition, kOfPosition, kHeadDim, kContext};
    return {{x.data(), weight.data(), normed.data(), kRows, kWidth, 1e-5f},
            {normed.data(), cache, rows.data(), rows.data() + kRows, attended.data(), kRows, kHeads, kKvHeads,
             kHeadDim, 0.3f},
            {attended.data(), normed.data(), y.data(), kRows * kWidth},
            barrier.data()};
  }
  /// All that the launches write, which was poison before them.
  std::vector<float> after(std::initializer_list<Launch> launches) const {
    for (const Buffer<float>* buffer : {&normed, &attended, &y})
      stream->fill(buffer->data(), 0x7f, buffer->bytes());
    stream->fill(barrier.data(), 0, barrier.bytes());
    for (const Launch& launch : launches) stream->launch(launch);
    std::vector<float> written;
    for (const Buffer<float>* buffer : {&normed, &attended, &y}) {
      const std::vector<float> part = buffer->download(*stream);
      written.insert(written.end(), part.begin(), part.end());
    }
    return written;
  }

  std::unique_ptr<Stream> stream;
  Buffer<float> x, weight, normed, attended, y;
  Buffer<half> k, v;
  Buffer<int> rows;
  Buffer<unsigned> barrier;
};

}  // namespace

std::string composed_ops_are_as_launched(Device& device) {
  const Memory memory(device);
  const ComposedParams params = memory.params();
  const auto launch = [&](const char* name, void (*kernel)(ComposedParams), int units, bool resident) {
    return Launch(Kernel<ComposedParams>{name, kernel},
                  {.grid = {static_cast<unsigned>(units)}, .block = 256, .resident = resident}, params);
  };
  const std::vector<float> want =
      memory.after({launch("composed_norm", composed_norm, kRows, false),
                    launch("composed_attention", composed_attention, kRows * kHeads, false),
                    launch("composed_swiglu", composed_swiglu, (kRows * kWidth + 255) / 256, false)});
  if (std::ranges::any_of(want, [](float value) { return !(value > -1e30f && value < 1e30f); }))
    return "the three launches leave something unwritten";
  for (const int grid : {1, 2, 3, 7, 24}) {
    const std::vector<float> got = memory.after({launch("composed", composed, grid, true)});
    for (std::size_t i = 0; i < want.size(); ++i) {
      if (std::memcmp(&got[i], &want[i], sizeof(float)) != 0) {
        return "a grid of " + std::to_string(grid) + ": element " + std::to_string(i) + " is " +
               std::to_string(got[i]) + ", of three launches " + std::to_string(want[i]);
      }
    }
  }
  return {};
}

}  // namespace m40llm::testing
