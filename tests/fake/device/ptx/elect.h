// Stands in for kernels/ptx/elect.h.
#pragma once

#include "tile/ints.h"

namespace strobe::kernel {

EMULATED void elect_one(void* const*) {}

EMULATED bool is_elected() {
  bool asks = true;
  emulated::machine->meet(0xffffffff, &asks, elect_one);
  return emulated::lane_index() == 0;
}

}  // namespace strobe::kernel
