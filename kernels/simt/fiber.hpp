#pragma once
#include <cstddef>
#include <memory>
#include <vector>

/// Keeps the callee-saved registers on the running stack and its top in `from`, and goes on where the stack whose
/// top is `to` left off. The control words of SSE and x87 stay as they are: no kernel changes them, and to save
/// and load them took a third of a switch.
extern "C" void m40llm_switch_stack(void** from, void* to);

namespace simt {

/// A stack and where it left off. CUDA threads run on fibers; a thread that never waits needs none of its
/// own, so that one fiber serves many threads in turn.
class Fiber {
 public:
  /// The fiber of the calling OS thread itself (no stack of its own).
  Fiber();
  /// A fiber that starts in `entry` on `stack_bytes` of `stack`.
  Fiber(std::byte* stack, std::size_t stack_bytes, void (*entry)());
  ~Fiber();
  Fiber(const Fiber&) = delete;
  Fiber& operator=(const Fiber&) = delete;

  /// Leaves the running fiber `from` and goes on where `to` left off. Returns when somebody switches back to
  /// `from`.
  static void switch_to(Fiber& from, Fiber& to) {
    if constexpr (kSanitized) from.leave(to);
    m40llm_switch_stack(&from.top_, to.top_);
    if constexpr (kSanitized) from.returned();
  }
  /// Forgets what runs on this fiber's stack: the next switch starts `entry` anew. The stack is not unwound.
  void abandon();
  bool holds(const void* address) const {
    return static_cast<const std::byte*>(address) >= stack_ &&
           static_cast<const std::byte*>(address) < stack_ + stack_bytes_;
  }

 private:
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
  static constexpr bool kSanitized = true;
#else
  static constexpr bool kSanitized = false;
#endif
  /// First thing on a new stack.
  static void arrived(Fiber* fiber);
  /// The top of a stack from which a switch goes to arrived(this).
  void* new_stack();
  // What sanitizers must be told.
  void leave(Fiber& to);
  void returned();

  std::byte* stack_ = nullptr;
  std::size_t stack_bytes_ = 0;
  void (*entry_)() = nullptr;
  void* top_ = nullptr;              // of the stack where it left off
  void* sanitizer_fiber_ = nullptr;  // TSan's handle
  void* fake_stack_ = nullptr;       // ASan's
};

/// Fibers that all run the same entry; they are made in slabs and never given back before the pool ends.
class FiberPool {
 public:
  explicit FiberPool(void (*entry)()) : entry_(entry) {}
  ~FiberPool();
  FiberPool(const FiberPool&) = delete;
  FiberPool& operator=(const FiberPool&) = delete;

  /// Throws std::exception if the system gives no memory.
  Fiber* take() {
    if (free_.empty()) grow();
    Fiber* fiber = free_.back();
    free_.pop_back();
    return fiber;
  }
  void give(Fiber* fiber) { free_.push_back(fiber); }

 private:
  void grow();
  struct Slab {
    void* memory;
    std::size_t bytes;
    bool guarded;
  };
  void (*entry_)();
  std::vector<Slab> slabs_;
  std::vector<std::unique_ptr<Fiber>> fibers_;
  std::vector<Fiber*> free_;
};

}  // namespace simt
