// Division by a number that the host knows: a multiplication and a shift.
#pragma once

#include "tile/ints.h"

namespace strobe::kernel {

// For n < 2^31: n / value = (n * multiplier) >> (32 + shift), where multiplier = ceil(2^(32 + shift) / value)
// (Granlund and Montgomery, 1994). A value of 1 has no such multiplier in 32 bits; its multiplier is 0.
struct Divisor {
  uint32_t value, multiplier, shift;
};

STROBE_DEVICE uint32_t quotient(uint32_t n, const Divisor& by) {
  const uint32_t high = static_cast<uint32_t>((static_cast<uint64_t>(n) * by.multiplier) >> 32);
  return by.multiplier == 0 ? n : high >> by.shift;
}

STROBE_DEVICE uint32_t remainder(uint32_t n, uint32_t quotient, const Divisor& by) {
  return n - quotient * by.value;
}

}  // namespace strobe::kernel
