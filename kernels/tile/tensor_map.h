// A CUtensorMap, for parameter structs that host and device share.
#pragma once

#include "tile/ints.h"

namespace strobe::kernel {

struct alignas(64) TensorMap {
  uint64_t opaque[16];
};

}  // namespace strobe::kernel
