// Small kernels that each plant one fault. A line that a report may name ends in "fault:" and the kernel's
// name; where the order of threads decides which of two accesses comes second, both lines do.
#include "kernels/device.cuh"
#include "tests/simt/faults.h"

__device__ __forceinline__ unsigned thread_of_grid() { return blockIdx.x * blockDim.x + threadIdx.x; }

extern "C" __global__ void uninitialized_shared(FaultParams p) {
  SHARED(float[64], s);
  if (p.plant == 0 || threadIdx.x != 5) s[threadIdx.x] = 1.f;
  __syncthreads();
  p.out[thread_of_grid()] = s[threadIdx.x];  // fault: uninitialized_shared
}

// The host uploads one element less.
extern "C" __global__ void uninitialized_buffer(FaultParams p) {
  p.out[thread_of_grid()] = p.in[threadIdx.x];  // fault: uninitialized_buffer
}

extern "C" __global__ void read_out_of_bounds(FaultParams p) {
  p.out[thread_of_grid()] = p.in[static_cast<int>(threadIdx.x) + p.plant];  // fault: read_out_of_bounds
}

extern "C" __global__ void read_shared_out_of_bounds(FaultParams p) {
  SHARED(float[64], s);
  SHARED(float[64], next);
  s[threadIdx.x] = 1.f;
  next[threadIdx.x] = 2.f;
  __syncthreads();
  const float* const first = s;
  p.out[thread_of_grid()] =
      first[static_cast<int>(threadIdx.x) + p.plant];  // fault: read_shared_out_of_bounds
}

extern "C" __global__ void write_out_of_bounds(FaultParams p) {
  p.data[static_cast<int>(threadIdx.x) + p.plant] = 1.f;  // fault: write_out_of_bounds
}

extern "C" __global__ void host_memory(FaultParams p) {
  p.out[thread_of_grid()] = p.in[63 - threadIdx.x];  // fault: host_memory
}

extern "C" __global__ void misaligned(FaultParams p) {
  if (threadIdx.x >= 15) return;
  const float4 four = reinterpret_cast<const float4*>(p.in + p.plant)[threadIdx.x];  // fault: misaligned
  p.out[thread_of_grid()] = four.x + four.w;
}

extern "C" __global__ void race_within_warp(FaultParams p) {
  SHARED(float[64], s);
  s[threadIdx.x] = 0.f;
  __syncthreads();
  s[threadIdx.x] = 1.f;  // fault: race_within_warp
  if (p.plant == 0) __syncwarp();
  p.out[thread_of_grid()] = s[threadIdx.x ^ 1];  // fault: race_within_warp
}

extern "C" __global__ void race_between_warps(FaultParams p) {
  SHARED(float[64], s);
  s[threadIdx.x] = 0.f;
  __syncthreads();
  s[threadIdx.x] = 1.f;  // fault: race_between_warps
  if (p.plant == 0) __syncthreads();
  p.out[thread_of_grid()] = s[threadIdx.x ^ 32];  // fault: race_between_warps
}

// A __syncwarp is not enough between warps.
extern "C" __global__ void write_after_read(FaultParams p) {
  SHARED(float[64], s);
  s[threadIdx.x] = 1.f;
  __syncthreads();
  p.out[thread_of_grid()] = s[threadIdx.x] + s[63];  // fault: write_after_read
  if (p.plant == 0) {
    __syncthreads();
  } else {
    __syncwarp();
  }
  if (threadIdx.x == 63) s[threadIdx.x] = 2.f;  // fault: write_after_read
}

extern "C" __global__ void race_between_blocks(FaultParams p) {
  if (p.plant == 0 && blockIdx.x != 0) return;
  p.data[threadIdx.x] = 1.f;  // fault: race_between_blocks
}

// All blocks read; one then writes.
extern "C" __global__ void write_after_read_of_blocks(FaultParams p) {
  p.out[thread_of_grid()] = p.data[threadIdx.x];                   // fault: write_after_read_of_blocks
  if (p.plant == 1 && blockIdx.x == 1) p.data[threadIdx.x] = 1.f;  // fault: write_after_read_of_blocks
}

extern "C" __global__ void race_of_halfs(FaultParams p) {
  const unsigned i = p.plant == 0 ? threadIdx.x : threadIdx.x / 2 * 2;
  const half old = p.halfs[i];                               // fault: race_of_halfs
  p.halfs[i] = {static_cast<unsigned short>(old.bits + 1)};  // fault: race_of_halfs
}

extern "C" __global__ void atomic_and_plain(FaultParams p) {
  atomic_add(p.words, 1u);  // fault: atomic_and_plain
  if (p.plant == 0) __syncthreads();
  if (threadIdx.x == 0) p.out[0] = static_cast<float>(p.words[0]);  // fault: atomic_and_plain
}

extern "C" __global__ void barrier_part_of_warp(FaultParams p) {
  if (p.plant == 1 && threadIdx.x % 32 >= 16) return;
  __syncthreads();  // fault: barrier_part_of_warp
  p.out[thread_of_grid()] = 1.f;
}

extern "C" __global__ void barrier_elsewhere(FaultParams p) {
  if (p.plant == 1 && threadIdx.x >= 32) {
    __syncthreads();  // fault: barrier_elsewhere
    p.out[thread_of_grid()] = 2.f;
  } else {
    __syncthreads();  // fault: barrier_elsewhere
    p.out[thread_of_grid()] = 1.f;
  }
}

extern "C" __global__ void shuffle_missing_lane(FaultParams p) {
  if (p.plant == 1 && threadIdx.x == 7) return;
  p.out[thread_of_grid()] = shuffle(kFullWarp, 1.f, 0);  // fault: shuffle_missing_lane
}

extern "C" __global__ void shuffle_outside_mask(FaultParams p) {
  if (threadIdx.x >= 16) return;
  p.out[thread_of_grid()] = shuffle(0xffffu, 1.f, p.plant == 1 ? 20 : 10);  // fault: shuffle_outside_mask
}

// Blocks 0 and 1 of a resident grid.
extern "C" __global__ void relaxed_store(FaultParams p) {
  if (threadIdx.x != 0) return;
  if (blockIdx.x == 0) {
    p.data[0] = 1.f;
    if (p.plant == 1) {
      store_relaxed(p.words, 1u);
    } else {
      store_release(p.words, 1u);
    }
  } else {
    spin_until(p.words, [](unsigned now) { return now == 1; });
    p.out[thread_of_grid()] = p.data[0];  // fault: relaxed_store
  }
}

extern "C" __global__ void release_too_early(FaultParams p) {
  if (threadIdx.x != 0) return;
  if (blockIdx.x == 0) {
    if (p.plant == 0) p.data[0] = 1.f;
    store_release(p.words, 1u);
    if (p.plant == 1) p.data[0] = 1.f;  // fault: release_too_early
  } else {
    spin_until(p.words, [](unsigned now) { return now == 1; });
    p.out[thread_of_grid()] = p.data[0];  // fault: release_too_early
  }
}

// The last block to come sums up what all have stored.
extern "C" __global__ void last_block(FaultParams p) {
  SHARED(unsigned[1], turn);
  if (threadIdx.x >= 2) return;
  p.data[blockIdx.x * 2 + threadIdx.x] = 1.f;
  __syncwarp(3u);
  if (threadIdx.x == 0) turn[0] = p.plant == 1 ? atomic_add(p.words, 1u) : atomic_add_acq_rel(p.words, 1u);
  __syncwarp(3u);
  if (turn[0] != gridDim.x - 1 || threadIdx.x != 0) return;
  float sum = 0.f;
  for (unsigned i = 0; i < 2 * gridDim.x; ++i) sum += p.data[i];  // fault: last_block
  p.out[0] = sum;
}

// Three phases: each block reads what its neighbour wrote, and then overwrites it.
extern "C" __global__ void missing_grid_barrier(FaultParams p) {
  for (int phase = 0; phase < 3; ++phase) {
    const unsigned mine = blockIdx.x;
    const unsigned neighbour = (blockIdx.x + 1) % gridDim.x;
    if (threadIdx.x == 40) p.data[mine] = static_cast<float>(phase);  // fault: missing_grid_barrier
    grid_barrier(p.words);
    p.out[thread_of_grid()] = p.data[neighbour] + p.data[0];  // fault: missing_grid_barrier
    if (p.plant == 0) grid_barrier(p.words + 2);
  }
}

// Two lanes of one warp, or of two warps, wait for each other: right only if both can go on.
extern "C" __global__ void spin_holds_own_warp(FaultParams p) {
  const unsigned other = p.plant == 1 ? 31 : 32;
  if (threadIdx.x == 0) {
    store_release(p.words, 1u);
    spin_until(p.words + 1, [](unsigned now) { return now == 1; });  // fault: spin_holds_own_warp
  }
  if (threadIdx.x == other) {
    spin_until(p.words, [](unsigned now) { return now == 1; });  // fault: spin_holds_own_warp
    store_release(p.words + 1, 1u);
  }
}

extern "C" __global__ void endless_spin(FaultParams p) {
  if (threadIdx.x == 32 && p.plant == 0) store_release(p.words, 1u);
  if (threadIdx.x == 31) spin_until(p.words, [](unsigned now) { return now == 1; });  // fault: endless_spin
}

extern "C" __global__ void endless_loop(FaultParams p) {
  if (p.plant == 0 || threadIdx.x != 0) return;
  while (load_acquire(p.words) == 0) {  // fault: endless_loop
  }
}

extern "C" __global__ void too_much_static_shared(FaultParams p) {
  SHARED(float[8192], first);
  first[threadIdx.x] = 1.f;
  if (p.plant == 1) {
    SHARED(float[8192], second);  // fault: too_much_static_shared
    second[threadIdx.x] = 1.f;
  }
}

// 40 KB of dynamic shared memory come with the launch.
extern "C" __global__ void too_much_dynamic_shared(FaultParams p) {
  DYN_SHARED(float, first);
  first[threadIdx.x] = 1.f;
  if (p.plant == 1) {
    SHARED(float[4096], second);  // fault: too_much_dynamic_shared
    second[threadIdx.x] = 1.f;
  }
}

// Loads through the read-only cache of what the same launch writes: before the load or after it, by whomever.
extern "C" __global__ void readonly_after_write(FaultParams p) {
  p.data[threadIdx.x] = 1.f;
  __syncthreads();
  const float* const from = p.plant == 1 ? p.data : p.in;
  p.out[thread_of_grid()] = load_readonly(from + 63 - threadIdx.x);  // fault: readonly_after_write
}

extern "C" __global__ void write_after_readonly(FaultParams p) {
  const float v = p.plant == 1 ? load_readonly(p.data + threadIdx.x) : p.data[threadIdx.x];
  p.out[thread_of_grid()] = p.data[threadIdx.x];  // a plain load as well
  __syncthreads();
  p.data[63 - threadIdx.x] = v;  // fault: write_after_readonly
}

extern "C" __global__ void readonly_vector(FaultParams p) {
  if (threadIdx.x == 63) p.data[p.plant == 1 ? 7 : 3] = 1.f;
  __syncthreads();
  if (threadIdx.x != 1) return;
  const float4 four =
      load<true>(reinterpret_cast<const float4*>(p.data) + threadIdx.x);  // fault: readonly_vector
  p.out[thread_of_grid()] = four.x + four.w;
}

// The other half of the word may be written.
extern "C" __global__ void readonly_half(FaultParams p) {
  const unsigned mine = threadIdx.x / 2 * 2;
  if (threadIdx.x % 2 == 0) {
    const unsigned other = p.plant == 1 ? mine : mine + 1;
    p.out[thread_of_grid()] = half_to_float(load_readonly(p.halfs + other));
  }
  __syncthreads();
  if (threadIdx.x % 2 == 1) p.halfs[mine] = float_to_half(1.f);  // fault: readonly_half
}

// A release orders the two, and does not help.
extern "C" __global__ void readonly_of_another_block(FaultParams p) {
  if (threadIdx.x != 0) return;
  if (blockIdx.x == 0) {
    p.out[0] = p.plant == 1 ? load_readonly(p.data) : p.data[0];
    store_release(p.words, 1u);
  } else {
    spin_until(p.words, [](unsigned now) { return now == 1; });
    p.data[0] = 2.f;  // fault: readonly_of_another_block
  }
}

extern "C" __global__ void readonly_then_atomic(FaultParams p) {
  if (threadIdx.x == 32) p.out[0] = static_cast<float>(load_readonly(p.words + 1 - p.plant));
  __syncthreads();
  if (threadIdx.x == 0) atomic_add(p.words, 1u);  // fault: readonly_then_atomic
}

// What the scheduler's tests compare with plain C++. Eight words a thread.
extern "C" __global__ void collectives(FaultParams p) {
  const unsigned i = thread_of_grid();
  const float v = p.in[threadIdx.x];
  const unsigned lane = threadIdx.x % kWarp;
  float* const out = p.out + 8 * i;
  out[0] = warp_sum(v);
  out[1] = warp_max(v);
  out[2] = shuffle(kFullWarp, v, 31 - lane);
  out[3] = shuffle_xor(kFullWarp, v, 5);
  out[4] = bits_to_float(ballot(kFullWarp, v > 0.f));
  out[5] = shuffle(0xffu << lane / 8 * 8, v, lane / 8 * 8 + (lane + 1) % 8);
  out[6] = static_cast<float>(shuffle_xor(kFullWarp, static_cast<int>(lane), 1));
  SHARED(float[32], scratch);
  out[7] = group_sum(Group<64>::mine(), v, scratch);  // in blocks of that size
}

// Warps return one after the other; those left still meet at barriers.
extern "C" __global__ void returning_warps(FaultParams p) {
  SHARED(float[64], s);
  s[threadIdx.x] = 0.f;
  const unsigned n_warps = blockDim.x / kWarp;
  for (unsigned round = 0; round < n_warps; ++round) {
    __syncthreads();
    if (threadIdx.x / kWarp == round) {
      p.out[thread_of_grid()] = s[threadIdx.x % kWarp];
      return;
    }
    __syncthreads();
    if (threadIdx.x / kWarp == n_warps - 1) s[threadIdx.x % kWarp] += 1.f;
  }
}

// 24 x 256 resident: the phase's number must have come from every block.
extern "C" __global__ void many_grid_barriers(FaultParams p) {
  for (unsigned phase = 1; phase <= 20; ++phase) {
    if (threadIdx.x == blockDim.x - 1) p.data[blockIdx.x] = static_cast<float>(phase);
    grid_barrier(p.words);
    float sum = 0.f;
    for (unsigned b = threadIdx.x % kWarp; b < gridDim.x; b += kWarp) sum += p.data[b];
    p.out[thread_of_grid()] = warp_sum(sum) / static_cast<float>(gridDim.x);
    grid_barrier(p.words);
  }
}

// Half warps that exchange among themselves.
extern "C" __global__ void half_warps(FaultParams p) {
  SHARED(float[64], s);
  const unsigned lane = threadIdx.x % kWarp;
  const unsigned mine = lane < 16 ? 0xffffu : 0xffff0000u;
  for (int round = 0; round < 3; ++round) {
    s[threadIdx.x] = static_cast<float>(round);
    __syncwarp(mine);
    p.out[thread_of_grid()] = s[threadIdx.x ^ 15];
    __syncwarp(mine);
  }
}

// More epochs than an identity has numbers for.
extern "C" __global__ void many_epochs(FaultParams p) {
  SHARED(float[64], s);
  for (int round = 0; round < 2500; ++round) {
    s[threadIdx.x] = static_cast<float>(round);
    __syncwarp();
    p.out[thread_of_grid()] = s[threadIdx.x ^ 1];
    __syncwarp();
  }
  for (int round = 0; round < 4500; ++round) {
    __syncthreads();
    s[threadIdx.x] = static_cast<float>(round);
    __syncthreads();
    p.out[thread_of_grid()] = s[threadIdx.x ^ 32];
  }
  if (p.plant == 1) s[threadIdx.x] = 0.f;  // fault: many_epochs
}

extern "C" __global__ void add_one(FaultParams p) { p.data[thread_of_grid()] += 1.f; }  // fault: add_one

// Behind others of its stream, as one that overlaps them.
extern "C" __global__ void reads_before_it_waits(FaultParams p) {
  float early = 0.f;
  if (p.plant != 0) early = p.data[threadIdx.x];  // fault: reads_before_it_waits
  early += p.in[threadIdx.x];                     // which no kernel has written
  wait_for_earlier_kernels();
  p.out[thread_of_grid()] = early + p.data[threadIdx.x];
}
extern "C" __global__ void writes_before_it_waits(FaultParams p) {
  if (p.plant == 0) wait_for_earlier_kernels();
  p.data[threadIdx.x] = 1.f;  // fault: writes_before_it_waits
}

// Of two streams that run beside each other.
extern "C" __global__ void wait_for_word(FaultParams p) {
  if (threadIdx.x != 0) return;
  spin_until(p.words, [](unsigned now) { return now == 1; });  // fault: wait_for_word
  p.data[0] += 1.f;
}
extern "C" __global__ void store_word(FaultParams p) {
  if (threadIdx.x != 0) return;
  p.data[0] = 2.f;
  store_release(p.words, 1u);
}
