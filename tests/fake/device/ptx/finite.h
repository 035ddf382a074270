// Stands in for kernels/ptx/finite.h.
#pragma once

#include "tile/dtype.h"

namespace strobe::kernel {

template <Dtype kType>
EMULATED uint32_t add_zero_times(uint32_t pair, uint32_t sum) {
  constexpr uint32_t kExponent = kType == Dtype::kBf16 ? 0x7f80 : 0x7c00;
  const bool finite = (pair & kExponent) != kExponent && (pair >> 16 & kExponent) != kExponent;
  return finite ? sum : sum | 0x7fff;
}

}  // namespace strobe::kernel
