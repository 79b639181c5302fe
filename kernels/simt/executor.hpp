#pragma once
#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

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
  bool resident = false;     ///< blocks may wait for each other
  unsigned first_block = 0;  ///< those before it are left out
};

namespace checker {
struct LaunchClock;
}

/// What the workers of one launch share.
struct Progress {
  const Launch* launch = nullptr;
  std::uint64_t number = 0;           // of the launch, seeds the order
  std::vector<unsigned> block_order;  // empty: by arithmetic
  std::atomic<unsigned> next_block = 0;
  std::atomic<std::uint64_t> steps = 0;  // grows after any kernel code has run
  std::atomic<bool> deadlock = false;
  std::mutex mutex;
  std::vector<Report> reports;
  checker::LaunchClock* clock = nullptr;  // of the checked build
};

/// An OS thread that runs blocks: their fibers, their shared memory, and the blocks that wait for others.
struct Worker {
  explicit Worker(Order order);
  ~Worker();
  void run_blocks(Progress& progress);

  Order order;
  Progress* progress = nullptr;
  std::unique_ptr<Fiber> main;
  FiberPool pool;
  /// The value of Progress::steps at which all blocks here were found waiting; ~0: none left.
  std::atomic<std::uint64_t> idle_at = 0;
  std::vector<Worker*>* crew = nullptr;  // all workers of the launch

 private:
  Block* start_block();
  void run(Block& block);
  void retire(Block* block);
  void report_stuck(Block& block);
  bool poll(Block& block);
  bool everybody_idle(std::uint64_t steps) const;
  std::vector<std::unique_ptr<Block>> blocks_;
  std::vector<Block*> free_blocks_;
  std::vector<Block*> resident_;
};

/// Runs grids on a crew of OS threads, the calling one among them. One launch at a time, always from the same
/// thread.
class Executor {
 public:
  Executor(unsigned n_workers, Order order);
  ~Executor();
  Executor(const Executor&) = delete;
  Executor& operator=(const Executor&) = delete;

  /// Runs the grid to its end and returns the faults found.
  std::vector<Report> run(const Launch& launch);

 private:
  void serve(Worker& worker, unsigned index);
  Order order_;
  std::uint64_t n_launches_ = 0;
  std::vector<std::unique_ptr<Worker>> workers_;
  std::vector<Worker*> crew_;
  std::vector<std::thread> threads_;
  Progress* progress_ = nullptr;
  /// Number of the launch * kCalls + how many workers take part: one word, so that nobody sees the one
  /// without the other.
  std::atomic<std::uint64_t> call_ = 0;
  std::atomic<unsigned> n_busy_ = 0;
};

}  // namespace simt
