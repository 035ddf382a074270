// One lane of a warp, for what one thread does: the compiler knows that it is one.
#pragma once

#include "tile/ints.h"

namespace strobe::kernel {

// Whether this lane is the one. All lanes of the warp ask.
STROBE_DEVICE bool is_elected() {
  uint32_t elected;
  asm volatile("{ .reg .pred p; elect.sync _|p, 0xffffffff; selp.u32 %0, 1, 0, p; }" : "=r"(elected));
  return elected != 0;
}

}  // namespace strobe::kernel
