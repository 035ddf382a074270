// What device code has without asking and headers shared with it use, for the host's compiler.
#pragma once

#include <math.h>

#include "tile/ints.h"

STROBE_DEVICE float __int_as_float(int x) { return __builtin_bit_cast(float, x); }
STROBE_DEVICE int min(int a, int b) { return a < b ? a : b; }
STROBE_DEVICE int max(int a, int b) { return a < b ? b : a; }
