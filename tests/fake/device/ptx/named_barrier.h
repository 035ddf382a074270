// Stands in for kernels/ptx/named_barrier.h.
#pragma once

#include "tile/ints.h"

namespace strobe::kernel {

EMULATED void sync_threads(int barrier, int threads) { emulated::machine->sync_threads(barrier, threads); }

}  // namespace strobe::kernel
