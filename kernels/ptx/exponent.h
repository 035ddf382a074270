// Powers and logarithms of 2, and reciprocals, by the special function unit: relative error 2^-22, subnormal
// numbers are 0.
#pragma once

#include "tile/ints.h"

namespace strobe::kernel {

STROBE_DEVICE float exp2_approx(float x) {
  float y;
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
  return y;
}

STROBE_DEVICE float log2_approx(float x) {
  float y;
  asm("lg2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
  return y;
}

STROBE_DEVICE float reciprocal_approx(float x) {
  float y;
  asm("rcp.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
  return y;
}

}  // namespace strobe::kernel
