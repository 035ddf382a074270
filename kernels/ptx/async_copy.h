// Copies from global to shared memory that run beside the thread that issues them (cp.async).
#pragma once

#include "ptx/shared_address.h"

namespace strobe::kernel {

// kBytes (4, 8 or 16; both addresses multiples of it) past the first-level cache where that is possible.
template <int kBytes>
STROBE_DEVICE void copy_async(void* shared, const void* global) {
  const auto to = static_cast<uint32_t>(__cvta_generic_to_shared(shared));
  if constexpr (kBytes == 16)
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16;" ::"r"(to), "l"(global) : "memory");
  else
    asm volatile("cp.async.ca.shared.global [%0], [%1], %2;" ::"r"(to), "l"(global), "n"(kBytes) : "memory");
}

// The same, or kBytes zero bytes where not `valid`: `global` is then not read.
template <int kBytes>
STROBE_DEVICE void copy_async_or_zero(SharedAddress shared, const void* global, bool valid) {
  const int from_global = valid ? kBytes : 0;
  if constexpr (kBytes == 16)
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(shared), "l"(global), "r"(from_global)
                 : "memory");
  else
    asm volatile("cp.async.ca.shared.global [%0], [%1], %2, %3;" ::"r"(shared), "l"(global), "n"(kBytes),
                 "r"(from_global)
                 : "memory");
}

// The copies that this thread has issued since its last group become a group.
STROBE_DEVICE void end_copy_group() { asm volatile("cp.async.commit_group;" ::: "memory"); }

// Waits until at most kGroups of this thread's groups are under way; it sees what the others have written.
template <int kGroups>
STROBE_DEVICE void wait_for_copies() {
  asm volatile("cp.async.wait_group %0;" ::"n"(kGroups) : "memory");
}

}  // namespace strobe::kernel
