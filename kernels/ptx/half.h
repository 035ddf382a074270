// Arithmetic on pairs of f16.
#pragma once

#include "tile/ints.h"

namespace strobe::kernel {

STROBE_DEVICE uint32_t multiply_f16(uint32_t a, uint32_t b) {
  uint32_t product;
  asm("mul.rn.f16x2 %0, %1, %2;" : "=r"(product) : "r"(a), "r"(b));
  return product;
}

}  // namespace strobe::kernel
