// Stands in for kernels/ptx/memory.h.
#pragma once

#include "tile/ints.h"

namespace strobe::kernel {

template <int kBytes>
struct Access {
  uint32_t word[kBytes < 4 ? 1 : kBytes / 4];
};

template <int kBytes>
EMULATED Access<kBytes> load(const void* address) {
  emulated::machine->access(address, kBytes, kBytes, false);
  Access<kBytes> x{};
  __builtin_memcpy(x.word, address, kBytes);
  return x;
}

enum class Turn { kFirst, kLast };

template <Turn>
EMULATED Access<16> load_in_turn(const void* address) {
  return load<16>(address);
}

EMULATED void prefetch_to_l2(const void*) {}

template <int kBytes>
EMULATED void store(void* address, const Access<kBytes>& x) {
  emulated::machine->access(address, kBytes, kBytes, true);
  __builtin_memcpy(address, x.word, kBytes);
}

}  // namespace strobe::kernel
