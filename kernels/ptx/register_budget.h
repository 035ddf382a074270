// Moves registers between the warpgroups of a block (sm_90a): all four warps of a warpgroup execute it. What
// is taken has to have been given, or granted at the launch and left: else it waits for ever.
#pragma once

#include "tile/ints.h"

namespace strobe::kernel {

// Registers of a thread from here on, a multiple of 8: more than before.
template <int kRegisters>
STROBE_DEVICE void take_registers() {
  asm volatile("setmaxnreg.inc.sync.aligned.u32 %0;" ::"n"(kRegisters));
}

// Fewer than before.
template <int kRegisters>
STROBE_DEVICE void give_registers() {
  asm volatile("setmaxnreg.dec.sync.aligned.u32 %0;" ::"n"(kRegisters));
}

}  // namespace strobe::kernel
