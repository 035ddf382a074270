// Programmatic dependent launch (sm_90 and later): a kernel launched with it may begin before the kernel in
// front of it in the stream has ended.
#pragma once

#include "ptx/memory.h"
#include "tile/ints.h"

namespace strobe::kernel {

// Waits until everything that the kernels before have written can be read. Every thread calls it before its
// first access to global memory; without such a launch it returns at once.
STROBE_DEVICE void wait_for_kernel_before() {
#if __CUDA_ARCH__ >= 900
  asm volatile("griddepcontrol.wait;" ::: "memory");
#endif
}

// The next kernel may begin (and wait) as soon as every block has called this. Called behind a kernel's
// loads: blocks that come earlier take their place on the SMs from blocks that have work.
STROBE_DEVICE void let_next_kernel_begin() {
#if __CUDA_ARCH__ >= 900
  asm volatile("griddepcontrol.launch_dependents;" ::: "memory");
#endif
}

// May stand before the wait: a load of what no kernel has written that lets the next one begin early (a plan
// that was copied to the device, say). 4, 8 or 16 bytes.
template <int kBytes>
STROBE_DEVICE Access<kBytes> load_settled(const void* address) {
  return load<kBytes>(address);
}

}  // namespace strobe::kernel
