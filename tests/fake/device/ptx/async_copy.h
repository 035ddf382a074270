// Stands in for kernels/ptx/async_copy.h: a copy is made as late as the waits allow.
#pragma once

#include "ptx/shared_address.h"

namespace strobe::kernel {

template <int kBytes>
EMULATED void copy_async(void* shared, const void* global) {
  emulated::machine->copy_async(shared, global, kBytes);
}

template <int kBytes>
EMULATED void copy_async_or_zero(SharedAddress shared, const void* global, bool valid) {
  emulated::machine->copy_async(reinterpret_cast<void*>(shared), valid ? global : nullptr, kBytes);
}

EMULATED void end_copy_group() { emulated::machine->end_copy_group(); }

template <int kGroups>
EMULATED void wait_for_copies() {
  emulated::machine->wait_for_copies(kGroups);
}

}  // namespace strobe::kernel
