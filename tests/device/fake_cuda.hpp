#pragma once
#include <string>

/// A libcuda.so.1 for tests. Device memory is host memory, streams are done at once, no kernel runs. It takes
/// its orders from the environment at every call:
///   FAKE_CUDA_GPUS    compute capabilities, "9.0,5.2" (default "9.0"); empty: cuInit finds no device
///   FAKE_CUDA_MEMORY  bytes a GPU has (default 1048576)
///   FAKE_CUDA_DRIVER  what cuDriverGetVersion gives (default 12090)
///   FAKE_CUDA_FAIL    a call and the error it returns, "cuLaunchKernel=700"
///   FAKE_CUDA_LOG     a file that the text of fake_cuda_log is written to when the process ends
/// and keeps a text of what it was asked: see fake_cuda_log.
extern "C" {
/// Calls since the last fake_cuda_clear, each as " name(detail)".
const char* fake_cuda_log();
void fake_cuda_clear();
/// Context, streams, events, graphs, memory and modules not given back.
int fake_cuda_alive();
}
