// The frequencies of rotary position embedding, for every backend.
#pragma once

#include "strobe/rope.h"

namespace strobe::inline v1 {

// frequency(pair) of strobe/rope.h: radians a position.
double rope_frequency(int pair, int rotary_dim, const RopeScaling& scaling);

}  // namespace strobe::inline v1
