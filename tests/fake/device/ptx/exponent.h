// Stands in for kernels/ptx/exponent.h, without its errors.
#pragma once

#include "tile/ints.h"

namespace strobe::kernel {

EMULATED float exp2_approx(float x) { return exp2f(x); }
EMULATED float log2_approx(float x) { return log2f(x); }
EMULATED float reciprocal_approx(float x) { return 1 / x; }

}  // namespace strobe::kernel
