// Stands in for kernels/ptx/dependency.h: kernels run one after the other, but nobody may count on it.
#pragma once

#include "ptx/memory.h"
#include "tile/ints.h"

namespace strobe::kernel {

EMULATED void wait_for_kernel_before() { emulated::machine->wait_for_kernel_before(); }
EMULATED void let_next_kernel_begin() {}

template <int kBytes>
EMULATED Access<kBytes> load_settled(const void* address) {
  emulated::machine->access_settled(address, kBytes);
  Access<kBytes> x;
  __builtin_memcpy(x.word, address, kBytes);
  return x;
}

}  // namespace strobe::kernel
