// The thread's number in its block.
#pragma once

#include "tile/ints.h"

namespace strobe::kernel {

// Read anew at each call: what is computed from it is not kept in registers from one use to the next.
STROBE_DEVICE int32_t thread_read_anew() {
  int32_t thread;
  asm volatile("mov.u32 %0, %%tid.x;" : "=r"(thread));
  return thread;
}

}  // namespace strobe::kernel
