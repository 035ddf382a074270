// Stands in for kernels/ptx/thread.h.
#pragma once

#include "tile/ints.h"

namespace strobe::kernel {

EMULATED int32_t thread_read_anew() { return static_cast<int32_t>(threadIdx.x); }

}  // namespace strobe::kernel
