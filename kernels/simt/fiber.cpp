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

// The System V ABI for x86-64: what a function must keep is rbx, rbp and r12 to r15. A new stack begins in
// m40llm_new_stack with what to call in r12 and its argument in r13. By a jump and not by ret, which would be
// predicted to go back to where the caller of this very switch came from.
asm(R"(
.text
.p2align 4
.globl m40llm_switch_stack
.type m40llm_switch_stack, @function
m40llm_switch_stack:
  .cfi_startproc
  pushq %rbp
  pushq %rbx
  pushq %r12
  pushq %r13
  pushq %r14
  pushq %r15
  movq %rsp, (%rdi)
  movq %rsi, %rsp
  popq %r15
  popq %r14
  popq %r13
  popq %r12
  popq %rbx
  popq %rbp
  popq %rdx
  jmp *%rdx
  .cfi_endproc
.size m40llm_switch_stack, . - m40llm_switch_stack

.p2align 4
.type m40llm_new_stack, @function
m40llm_new_stack:
  .cfi_startproc
  .cfi_undefined rip
  movq %r13, %rdi
  call *%r12
  ud2
  .cfi_endproc
.size m40llm_new_stack, . - m40llm_new_stack
.globl m40llm_new_stack
)");
extern "C" void m40llm_new_stack();

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
    : stack_(stack), stack_bytes_(stack_bytes), entry_(entry), top_(new_stack()) {
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
  top_ = new_stack();
}

void* Fiber::new_stack() {
  // What m40llm_switch_stack pops: r15, r14, r13, r12, rbx, rbp, and where to go. Above them 16 bytes, so that the
  // stack is aligned to 16 before m40llm_new_stack calls.
  void** const top = reinterpret_cast<void**>(stack_ + stack_bytes_) - 9;
  std::memset(top, 0, 9 * sizeof(void*));
  top[2] = this;
  top[3] = reinterpret_cast<void*>(&Fiber::arrived);
  top[6] = reinterpret_cast<void*>(&m40llm_new_stack);
  return top;
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

void Fiber::arrived(Fiber* fiber) {
#if defined(__SANITIZE_ADDRESS__)
  __sanitizer_finish_switch_fiber(nullptr, nullptr, nullptr);
#endif
  fiber->entry_();
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
