#pragma once
#if defined(__SANITIZE_THREAD__)
#include <sanitizer/tsan_interface.h>
#endif

/// What ThreadSanitizer is told of the order that the scheduler makes: the scheduler itself is not
/// instrumented, and a switch of fibers orders nothing. What a lane did before it released an object comes
/// before what another does once it has acquired it.
namespace simt::tsan {

inline void release([[maybe_unused]] const void* object) {
#if defined(__SANITIZE_THREAD__)
  __tsan_release(const_cast<void*>(object));
#endif
}
inline void acquire([[maybe_unused]] const void* object) {
#if defined(__SANITIZE_THREAD__)
  __tsan_acquire(const_cast<void*>(object));
#endif
}

}  // namespace simt::tsan
