// Stands in for kernels/ptx/shared_address.h: shared memory is memory of the host's process.
#pragma once

#include "tile/ints.h"

namespace strobe::kernel {

using SharedAddress = unsigned long;

EMULATED SharedAddress shared_address(const void* shared) { return reinterpret_cast<SharedAddress>(shared); }

}  // namespace strobe::kernel
