#pragma once
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "engine/device/buffer.hpp"
#include "engine/device/simt/simt_device.hpp"
#include "tests/simt/faults.h"

extern "C" {
void uninitialized_shared(FaultParams);
void uninitialized_buffer(FaultParams);
void read_out_of_bounds(FaultParams);
void read_shared_out_of_bounds(FaultParams);
void write_out_of_bounds(FaultParams);
void host_memory(FaultParams);
void misaligned(FaultParams);
void race_within_warp(FaultParams);
void race_between_warps(FaultParams);
void write_after_read(FaultParams);
void race_between_blocks(FaultParams);
void write_after_read_of_blocks(FaultParams);
void race_of_halfs(FaultParams);
void atomic_and_plain(FaultParams);
void readonly_after_write(FaultParams);
void write_after_readonly(FaultParams);
void readonly_vector(FaultParams);
void readonly_half(FaultParams);
void readonly_of_another_block(FaultParams);
void reads_before_it_waits(FaultParams);
void writes_before_it_waits(FaultParams);
void readonly_then_atomic(FaultParams);
void barrier_part_of_warp(FaultParams);
void barrier_elsewhere(FaultParams);
void shuffle_missing_lane(FaultParams);
void shuffle_outside_mask(FaultParams);
void relaxed_store(FaultParams);
void release_too_early(FaultParams);
void last_block(FaultParams);
void missing_grid_barrier(FaultParams);
void spin_holds_own_warp(FaultParams);
void endless_spin(FaultParams);
void endless_loop(FaultParams);
void too_much_static_shared(FaultParams);
void too_much_dynamic_shared(FaultParams);
void collectives(FaultParams);
void returning_warps(FaultParams);
void many_grid_barriers(FaultParams);
void half_warps(FaultParams);
void many_epochs(FaultParams);
void add_one(FaultParams);
void wait_for_word(FaultParams);
void store_word(FaultParams);
}

namespace m40llm {

/// A SIMT device with the buffers that the kernels of faults.cu take.
class FaultBench {
 public:
  explicit FaultBench(SimtOrder order = SimtOrder::ascending, unsigned workers = 2, std::uint64_t seed = 0)
      : device(open(order, workers, seed)),
        stream(device->create_stream()),
        out(*device, 24 * 256, "out"),
        in(*device, 64, "in"),
        data(*device, 64, "data"),
        words(*device, 4, "words"),
        halfs(*device, 64, "halfs") {
    reset();
  }
  FaultBench(const FaultBench&) = delete;
  FaultBench& operator=(const FaultBench&) = delete;

  /// in: 1, 2, 3 ...; data, words and halfs: zeros.
  void reset() {
    std::vector<float> values(64);
    for (std::size_t i = 0; i < values.size(); ++i) values[i] = static_cast<float>(i + 1);
    in.upload(*stream, values);
    stream->fill(data.data(), 0, data.bytes());
    stream->fill(words.data(), 0, words.bytes());
    stream->fill(halfs.data(), 0, halfs.bytes());
  }
  FaultParams params(int plant) const {
    return {plant, out.data(), in.data(), data.data(), words.data(), halfs.data()};
  }
  void launch(const char* name, void (*kernel)(FaultParams), const LaunchConfig& config,
              const FaultParams& p) {
    stream->launch(Kernel<FaultParams>{name, kernel}, config, p);
  }
  /// What the device reports on all since the last call.
  std::vector<simt::Report> reports() {
    try {
      stream->synchronize();
    } catch (const KernelFault& fault) {
      return fault.reports;
    }
    return {};
  }

  std::unique_ptr<Device> device;
  std::unique_ptr<Stream> stream;
  Buffer<float> out, in, data;
  Buffer<unsigned> words;
  Buffer<half> halfs;

 private:
  static std::unique_ptr<Device> open(SimtOrder order, unsigned workers, std::uint64_t seed) {
    DeviceOptions options;
    options.simt_order = order;
    options.simt_workers = workers;
    options.simt_seed = seed;
    return open_simt_device(options);
  }
};

}  // namespace m40llm
