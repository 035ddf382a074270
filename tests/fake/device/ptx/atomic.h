// Stands in for kernels/ptx/atomic.h.
#pragma once

#include "tile/ints.h"

namespace strobe::kernel {

EMULATED uint32_t add_shared(uint32_t* shared, uint32_t value) {
  emulated::machine->atomic(shared, sizeof *shared);
  const uint32_t before = *shared;
  *shared = before + value;
  return before;
}

EMULATED uint32_t add_release_acquire(uint32_t* global, uint32_t value) {
  emulated::machine->release_acquire(global);
  return add_shared(global, value);
}
EMULATED uint32_t add_global(uint32_t* global, uint32_t value) { return add_shared(global, value); }
EMULATED void set_global(uint32_t* global, uint32_t value) {
  emulated::machine->atomic(global, sizeof *global);
  *global = value;
}
EMULATED void count_shared(uint32_t* shared) { add_shared(shared, 1); }

}  // namespace strobe::kernel
