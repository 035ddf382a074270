// Barriers of some of a block's warps (bar.sync): 1 to 15; 0 is that of __syncthreads().
#pragma once

#include "tile/ints.h"

namespace strobe::kernel {

// Waits until `threads` (a multiple of 32) have come to the barrier of that number.
STROBE_DEVICE void sync_threads(int barrier, int threads) {
  asm volatile("bar.sync %0, %1;" ::"r"(barrier), "r"(threads) : "memory");
}

}  // namespace strobe::kernel
