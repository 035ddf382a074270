// The thread's number in its block.
#pragma once

#include "tile/ints.h"

namespace strobe::kernel {

// threadIdx.x, read anew: the compiler does not keep what follows from it in registers for the next use.
STROBE_DEVICE int32_t reread_thread() {
  int32_t thread;
  asm volatile("mov.u32 %0, %%tid.x;" : "=r"(thread));
  return thread;
}

}  // namespace strobe::kernel
