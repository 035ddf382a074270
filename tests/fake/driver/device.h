// The emulated devices and their contexts.
#pragma once

#include "error.h"

namespace strobe::cuda {
struct Context {
  int device;
};
}  // namespace strobe::cuda

namespace emulated {

inline constexpr int kMostDevices = 2;

// EMULATED_CAPABILITY (90 unless it says 80, 86, …) of every device.
int capability();
// Bytes of shared memory that a block may have, and a multiprocessor has.
int shared_bytes_per_block();
int shared_bytes_per_sm();
int threads_per_sm();
inline constexpr int kSmCount = 4;  // few: the grids that stay then do several rounds in small tests
inline constexpr std::size_t kMemoryBytes = std::size_t{4} << 30;

// Null when the thread has none.
strobe::cuda::ContextHandle current_context();

// Why the current thread cannot make a call that needs a context; kSuccess when it can.
Result need_context();

}  // namespace emulated
