#pragma once

/// The chip that every kernel must fit: the one home of its limits, for the kernels' compiler, the SIMT device, the
/// CUDA device, the tables of launches and the model of occupancy.
namespace m40llm {

/// What a chip gives its blocks.
struct ChipLimits {
  const char* name;
  const char* arch;
  int n_sms;
  int registers_per_sm;
  int registers_per_thread;
  int register_granularity;  ///< registers are handed out to a warp in multiples of this
  int sub_partitions;        ///< quarters of an SM with registers and a scheduler of their own
  int shared_bytes_per_sm;
  int shared_bytes_per_block;
  int shared_granularity_bytes;
  int warps_per_sm;
  int blocks_per_sm;
  int threads_per_block;
  int grid_x;  ///< blocks a grid may have along x
  int grid_y;
};

/// Tesla M40: the CUDA programming guide's table of technical specifications, column 5.2, and the Tesla M40
/// board's 24 SMs.
inline constexpr ChipLimits kGm200{.name = "Tesla M40",
                                   .arch = "sm_52",
                                   .n_sms = 24,
                                   .registers_per_sm = 65536,
                                   .registers_per_thread = 255,
                                   .register_granularity = 256,
                                   .sub_partitions = 4,
                                   .shared_bytes_per_sm = 96 * 1024,
                                   .shared_bytes_per_block = 48 * 1024,
                                   .shared_granularity_bytes = 256,
                                   .warps_per_sm = 64,
                                   .blocks_per_sm = 32,
                                   .threads_per_block = 1024,
                                   .grid_x = 0x7fffffff,
                                   .grid_y = 65535};

/// What bounds a kernel's time on a chip: for models of it, which are no measurements.
struct ChipSpeed {
  double bandwidth_bytes_per_s;  ///< that a copy reaches
  double clock_hz;
  int issues_a_clock;  ///< instructions of warps that an SM's schedulers start a clock
  double launch_us;    ///< that a launch adds
};

/// Tesla M40: 78 % of 288.4 GB/s, which copies reach on this chip with ECC off; the boost clock; four schedulers an SM, each
/// counted with one instruction a clock, though some pairs go together; a quarter of 32.3 us, which four launches were
/// published to take on an M40.
inline constexpr ChipSpeed kGm200Speed{
    .bandwidth_bytes_per_s = 225e9, .clock_hz = 1114e6, .issues_a_clock = 4, .launch_us = 32.3 / 4};

}  // namespace m40llm
