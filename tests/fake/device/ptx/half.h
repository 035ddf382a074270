// Stands in for kernels/ptx/half.h: a product of two f16 is exact in f32.
#pragma once

#include "tile/dtype.h"
#include "tile/ints.h"

namespace strobe::kernel {

EMULATED uint32_t multiply_f16(uint32_t a, uint32_t b) {
  constexpr int kType = static_cast<int>(Dtype::kF16);
  uint32_t product = 0;
  for (int shift = 0; shift < 32; shift += 16) {
    const float x = emulated::machine->widen(a >> shift & 0xffff, kType);
    const float y = emulated::machine->widen(b >> shift & 0xffff, kType);
    product |= emulated::machine->narrow(x * y, kType) << shift;
  }
  return product;
}

}  // namespace strobe::kernel
