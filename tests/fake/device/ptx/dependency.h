// Stands in for kernels/ptx/dependency.h: kernels run one after the other, but nobody may count on it.
#pragma once

#include "tile/ints.h"

namespace strobe::kernel {

EMULATED void wait_for_kernel_before() { emulated::machine->wait_for_kernel_before(); }
EMULATED void let_next_kernel_begin() {}

}  // namespace strobe::kernel
