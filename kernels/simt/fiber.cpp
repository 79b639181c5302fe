#include "kernels/simt/fiber.hpp"

#include <sys/mman.h>

#include <atomic>
#include <cerrno>
#include <cstring>
#include <fstream>
#include <stdexcept>
#include <string>

#if defined(__SANITIZE_ADDRESS__)
#include <pthread.h>
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#endif
#if defined(__SANITIZE_THREAD__)
#include <sanitizer/tsan_interface.h>
#endif

namespace simt {
namespace {
#if defined(__SANITIZE_ADDRESS__)
constexpr std::size_t kStackBytes = 256 * 1024;  // instrumented frames are several times larger
#else
constexpr std::size_t kStackBytes = 64 * 1024;
#endif
constexpr std::size_t kPage = 4096;
constexpr std::size_t kSlab = 64;  // fibers

/// Guard pages that the process may still make. Each splits a mapping in two, and Linux allows a process
/// vm.max_map_count of them (65530 by default): half of those are for stacks, which guards 16,320. An M40 holds
/// 49,152 threads at once. Stacks beyond have none; what overflows a stack there has overflowed one with a guard
/// before, as all fibers run the same kernel and guarded ones are made first.
std::atomic<long>& guards_left() {
  static std::atomic<long> left = [] {
    long mappings = 65530;
    std::ifstream("/proc/sys/vm/max_map_count") >> mappings;
    return mappings / 2 / 2;
  }();
  return left;
}

bool take_guards(long n) {
  if (guards_left().fetch_sub(n) >= n) return true;
  guards_left().fetch_add(n);
  return false;
}

#if defined(__SANITIZE_THREAD__)
constexpr long kMostFibers = 8000;  // ThreadSanitizer ends the process at 8128
std::atomic<long> n_fibers = 0;
#endif
}  // namespace

using boost::context::detail::make_fcontext;
using boost::context::detail::transfer_t;

Fiber::Fiber() {
#if defined(__SANITIZE_THREAD__)
  sanitizer_fiber_ = __tsan_get_current_fiber();
#endif
#if defined(__SANITIZE_ADDRESS__)
  pthread_attr_t attributes;
  void* low = nullptr;
  std::size_t bytes = 0;
  if (pthread_getattr_np(pthread_self(), &attributes) == 0) {
    pthread_attr_getstack(&attributes, &low, &bytes);
    pthread_attr_destroy(&attributes);
  }
  stack_ = static_cast<std::byte*>(low);
  stack_bytes_ = bytes;
#endif
}

Fiber::Fiber(std::byte* stack, std::size_t stack_bytes, void (*entry)())
    : stack_(stack),
      stack_bytes_(stack_bytes),
      entry_(entry),
      context_(make_fcontext(stack + stack_bytes, stack_bytes, Fiber::arrived)) {
#if defined(__SANITIZE_THREAD__)
  sanitizer_fiber_ = __tsan_create_fiber(0);
#endif
}

Fiber::~Fiber() {
#if defined(__SANITIZE_THREAD__)
  if (entry_ != nullptr) __tsan_destroy_fiber(sanitizer_fiber_);
#endif
}

void Fiber::abandon() {
#if defined(__SANITIZE_ADDRESS__)
  __asan_unpoison_memory_region(stack_, stack_bytes_);
  fake_stack_ = nullptr;
#endif
  context_ = make_fcontext(stack_ + stack_bytes_, stack_bytes_, Fiber::arrived);
}

void Fiber::leave([[maybe_unused]] Fiber& to) {
#if defined(__SANITIZE_ADDRESS__)
  __sanitizer_start_switch_fiber(&fake_stack_, to.stack_, to.stack_bytes_);
#endif
#if defined(__SANITIZE_THREAD__)
  __tsan_switch_to_fiber(to.sanitizer_fiber_, 1);  // 1: switching orders nothing; barriers do
#endif
}

void Fiber::returned() {
#if defined(__SANITIZE_ADDRESS__)
  __sanitizer_finish_switch_fiber(fake_stack_, nullptr, nullptr);
#endif
}

void Fiber::arrived(transfer_t transfer) {
  Fiber* const from = static_cast<Fiber*>(transfer.data);
  from->context_ = transfer.fctx;
#if defined(__SANITIZE_ADDRESS__)
  __sanitizer_finish_switch_fiber(nullptr, nullptr, nullptr);
#endif
  from->target_->entry_();
}

FiberPool::~FiberPool() {
#if defined(__SANITIZE_THREAD__)
  n_fibers.fetch_sub(static_cast<long>(fibers_.size()));
#endif
  fibers_.clear();
  for (const Slab& slab : slabs_) {
#if defined(__SANITIZE_ADDRESS__)
    __asan_unpoison_memory_region(slab.memory, slab.bytes);  // the stack of some thread may come to lie here
#endif
    munmap(slab.memory, slab.bytes);
    if (slab.guarded) guards_left().fetch_add(kSlab);
  }
}

void FiberPool::grow() {
#if defined(__SANITIZE_THREAD__)
  if (n_fibers.fetch_add(kSlab) + static_cast<long>(kSlab) > kMostFibers) {
    n_fibers.fetch_sub(kSlab);
    throw std::runtime_error("ThreadSanitizer takes no more than " + std::to_string(kMostFibers) +
                             " waiting threads at once");
  }
#endif
  const std::size_t pitch = kStackBytes + kPage;
  const std::size_t bytes = kSlab * pitch;
  void* memory =
      mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (memory == MAP_FAILED) {
    throw std::runtime_error("no stacks for " + std::to_string(fibers_.size() + kSlab) +
                             " waiting threads of one worker: " + std::strerror(errno));
  }
  madvise(memory, bytes, MADV_NOHUGEPAGE);  // a stack uses a page or two
  // One guard page below each stack: an overflow stops instead of reaching the neighbour.
  const bool guarded = take_guards(kSlab);
  slabs_.push_back({memory, bytes, guarded});
  free_.reserve(fibers_.size() + kSlab);  // so that give() never allocates
  for (std::size_t i = 0; i < kSlab; ++i) {
    std::byte* low = static_cast<std::byte*>(memory) + i * pitch;
    if (guarded && mprotect(low, kPage, PROT_NONE) != 0) {
      throw std::runtime_error(std::string("no guard page for a thread's stack: ") + std::strerror(errno));
    }
    // Tops at equal offsets would all fall into the same sets of the first-level cache: shift them by a few
    // lines.
    const std::size_t colour = (fibers_.size() % 16) * 5 * 64;
    fibers_.push_back(std::make_unique<Fiber>(low + kPage, kStackBytes - colour, entry_));
    free_.push_back(fibers_.back().get());
  }
}

}  // namespace simt
