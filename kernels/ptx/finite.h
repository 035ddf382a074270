// Whether pairs of 16-bit floats are finite.
#pragma once

#include "tile/dtype.h"

namespace strobe::kernel {

// `sum`, 0 to begin with, stays 0 as long as only finite numbers come.
template <Dtype kType>
STROBE_DEVICE uint32_t add_zero_times(uint32_t pair, uint32_t sum) {
  if constexpr (kType == Dtype::kBf16)
    asm("fma.rn.bf16x2 %0, %1, %2, %0;" : "+r"(sum) : "r"(pair), "r"(0));
  else
    asm("fma.rn.f16x2 %0, %1, %2, %0;" : "+r"(sum) : "r"(pair), "r"(0));
  return sum;
}

}  // namespace strobe::kernel
