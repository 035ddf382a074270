// Atomic operations on shared memory.
#pragma once

#include "tile/ints.h"

namespace strobe::kernel {

// Adds and returns what was there; orders nothing else.
STROBE_DEVICE uint32_t add_shared(uint32_t* shared, uint32_t value) {
  uint32_t before;
  asm volatile("atom.relaxed.cta.shared.add.u32 %0, [%1], %2;"
               : "=r"(before)
               : "r"(static_cast<uint32_t>(__cvta_generic_to_shared(shared))), "r"(value)
               : "memory");
  return before;
}

// Adds 1.
STROBE_DEVICE void count_shared(uint32_t* shared) {
  asm volatile(
      "red.relaxed.cta.shared.add.u32 [%0], 1;" ::"r"(static_cast<uint32_t>(__cvta_generic_to_shared(shared)))
      : "memory");
}

}  // namespace strobe::kernel
