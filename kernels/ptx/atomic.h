// Atomic operations.
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

// The same in global memory.
STROBE_DEVICE uint32_t add_global(uint32_t* global, uint32_t value) {
  uint32_t before;
  asm volatile("atom.relaxed.gpu.global.add.u32 %0, [%1], %2;"
               : "=r"(before)
               : "l"(global), "r"(value)
               : "memory");
  return before;
}

// The same, between blocks: what this thread has done before, and what its block had done before their last
// barrier, is seen by those who add later, and by their blocks behind their next barrier.
STROBE_DEVICE uint32_t add_release_acquire(uint32_t* global, uint32_t value) {
  uint32_t before;
  asm volatile("atom.acq_rel.gpu.global.add.u32 %0, [%1], %2;"
               : "=r"(before)
               : "l"(global), "r"(value)
               : "memory");
  return before;
}

// Sets what others add to.
STROBE_DEVICE void set_global(uint32_t* global, uint32_t value) {
  asm volatile("st.relaxed.gpu.global.u32 [%0], %1;" ::"l"(global), "r"(value) : "memory");
}

// Adds 1.
STROBE_DEVICE void count_shared(uint32_t* shared) {
  asm volatile(
      "red.relaxed.cta.shared.add.u32 [%0], 1;" ::"r"(static_cast<uint32_t>(__cvta_generic_to_shared(shared)))
      : "memory");
}

}  // namespace strobe::kernel
