/// The scheduler is not instrumented and runs on many fibers of one OS thread, which ThreadSanitizer takes for threads. What it
/// allocates on one fiber and grows or frees on another is no race.
extern "C" const char* __tsan_default_suppressions();
extern "C" const char* __tsan_default_suppressions() {
  return "race:simt::FiberPool::grow\n"
         "race:operator delete\n";
}
