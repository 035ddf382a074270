// Stands in for kernels/ptx/register_budget.h: registers are not counted.
#pragma once

#include "tile/ints.h"

namespace strobe::kernel {

template <int kRegisters>
EMULATED void take_registers() {}
template <int kRegisters>
EMULATED void give_registers() {}

}  // namespace strobe::kernel
