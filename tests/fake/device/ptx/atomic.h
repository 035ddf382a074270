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
  emulated::machine->atomic_of_grid(global, sizeof *global, true);
  const uint32_t before = *global;
  *global = before + value;
  return before;
}

EMULATED void store_relaxed(uint32_t* global, uint32_t value) {
  emulated::machine->atomic_of_grid(global, sizeof *global, false);
  *global = value;
}

}  // namespace strobe::kernel
