// Element types, numbered as strobe::Dtype.
#pragma once

#include "tile/ints.h"

namespace strobe::kernel {

enum class Dtype : unsigned char { kF32, kF16, kBf16, kE4m3, kE5m2, kI8, kU8, kI32, kI64, kBool };

// Bytes of one element.
STROBE_DEVICE constexpr int size_of(Dtype dtype) {
  constexpr int kBytes[] = {4, 2, 2, 1, 1, 1, 1, 4, 8, 1};
  return kBytes[static_cast<int>(dtype)];
}

}  // namespace strobe::kernel
