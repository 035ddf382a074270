// Addresses in shared memory as the instructions take them.
#pragma once

#include "tile/ints.h"

namespace strobe::kernel {

// Bytes; sums with offsets are addresses, too.
using SharedAddress = uint32_t;

STROBE_DEVICE SharedAddress shared_address(const void* shared) {
  return static_cast<SharedAddress>(__cvta_generic_to_shared(shared));
}

}  // namespace strobe::kernel
