#pragma once
#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "kernels/simt/activity.hpp"
#include "kernels/simt/scheduler.hpp"

namespace simt {

/// One grid to run.
struct Launch {
  const char* kernel = "";
  void (*function)() = nullptr;
  void (*call)(void (*function)(), const void* params) = nullptr;
  const void* params = nullptr;
  unsigned grid_x = 1, grid_y = 1;
  unsigned block = 32;
  unsigned shared_bytes = 0;
  bool resident = false;  ///< blocks may wait for each other
  bool overlaps = false;  ///< it begins before the kernel before it has ended, and waits for that itself
  bool host_fed = false;  ///< the host may write what lanes wait for: waiting is never a deadlock
  std::uint64_t first_block = 0;  ///< those before it are left out

  std::uint64_t n_blocks() const { return std::uint64_t{grid_x} * grid_y; }
};

namespace checker {
struct LaunchClock;
}

/// What the workers of one launch share.
struct Progress {
  const Launch* launch = nullptr;
  Activity::Stream* stream = nullptr;
  std::uint64_t number = 0;           // of the launch, seeds the order
  std::vector<unsigned> block_order;  // empty: by arithmetic
  std::atomic<std::uint64_t> next_block = 0;
  std::atomic<bool> deadlock = false;
  std::atomic<bool> broken = false;  // the device itself failed: what waits will wait for ever
  std::mutex mutex;
  std::vector<Report> reports;
  checker::LaunchClock* clock = nullptr;  // of the checked build
};

/// An OS thread that runs blocks: their fibers, their shared memory, and the blocks that wait for others.
struct Worker {
  Worker(Order order, std::atomic<std::uint64_t>& at);
  ~Worker();
  /// Runs blocks until there are none left. Throws nothing: a failure becomes a fault of the launch.
  void run_blocks(Progress& progress) noexcept;

  Order order;
  Progress* progress = nullptr;
  std::unique_ptr<Fiber> main;
  FiberPool pool;

 private:
  void run_all();
  void give_up_blocks();
  Block* start_block();
  void run(Block& block);
  void retire(Block* block);
  void report_stuck(Block& block);
  bool poll(Block& block);
  std::atomic<std::uint64_t>& at_;  // in Activity: the steps at which all blocks here were found waiting
  std::vector<std::unique_ptr<Block>> blocks_;
  std::vector<Block*> free_blocks_;
  std::vector<Block*> resident_;
};

/// Runs a stream's grids on OS threads, the calling one among them. One launch at a time, always from the same
/// thread.
class Executor {
 public:
  /// As many workers as `stream` has places for. Throws std::system_error if the system gives no threads.
  Executor(Activity::Stream& stream, Order order);
  ~Executor();
  Executor(const Executor&) = delete;
  Executor& operator=(const Executor&) = delete;

  /// Runs the grid to its end and returns the faults found.
  std::vector<Report> run(const Launch& launch);

 private:
  void stop();
  void serve(Worker& worker, unsigned index);
  Activity::Stream& stream_;
  Order order_;
  std::uint64_t n_launches_ = 0;
  std::vector<std::unique_ptr<Worker>> workers_;
  std::vector<std::thread> threads_;
  Progress* progress_ = nullptr;
  /// Number of the launch * kCalls + how many workers take part: one word, so that nobody sees the one
  /// without the other.
  std::atomic<std::uint64_t> call_ = 0;
  std::atomic<unsigned> n_busy_ = 0;
};

}  // namespace simt
