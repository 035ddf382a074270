// Where the positions of rotary embedding come from.
#pragma once

#include "tile/dtype.h"

namespace strobe::kernel {

enum class RopePositions { kOffsets, kInt32, kInt64 };

}  // namespace strobe::kernel
