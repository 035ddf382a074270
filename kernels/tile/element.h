// Single elements of any float format.
#pragma once

#include "ptx/convert.h"

namespace strobe::kernel {

// An e4m3 or e5m2 by bit arithmetic: its exponent and mantissa are those of an f32 that is too small by a
// power of two.
template <Dtype kDtype>
STROBE_DEVICE float float_of_fp8(uint32_t bits) {
  constexpr bool kE4m3 = kDtype == Dtype::kE4m3;
  constexpr int kShift = kE4m3 ? 20 : 21;
  constexpr float kScale = kE4m3 ? 0x1p120f : 0x1p112f;
  const uint32_t magnitude = bits & 0x7f, sign = (bits & 0x80) << 24;
  const bool special = kE4m3 ? magnitude == 0x7f : magnitude >= 0x7c;
  const float value = float_of(magnitude << kShift) * kScale;
  const float infinity = __int_as_float(0x7f800000);
  const float beyond = !kE4m3 && magnitude == 0x7c ? infinity : infinity - infinity;
  return float_of(bits_of(special ? beyond : value) | sign);
}

template <Dtype kDtype>
STROBE_DEVICE float load_float(const char* address) {
  if constexpr (kDtype == Dtype::kF32) {
    return *reinterpret_cast<const float*>(address);
  } else if constexpr (size_of(kDtype) == 2) {
    float value, nothing;
    floats_of<kDtype>(*reinterpret_cast<const unsigned short*>(address), value, nothing);
    return value;
  } else {
    return float_of_fp8<kDtype>(*reinterpret_cast<const unsigned char*>(address));
  }
}

// Of any float format: small code rather than fast.
STROBE_DEVICE float load_float(const char* row, int32_t i, Dtype dtype) {
  if (dtype == Dtype::kF32) return load_float<Dtype::kF32>(row + 4 * i);
  if (dtype == Dtype::kF16) return load_float<Dtype::kF16>(row + 2 * i);
  if (dtype == Dtype::kBf16) return load_float<Dtype::kBf16>(row + 2 * i);
  return dtype == Dtype::kE4m3 ? load_float<Dtype::kE4m3>(row + i) : load_float<Dtype::kE5m2>(row + i);
}

// f32, f16 or bf16.
STROBE_DEVICE void store_float(char* address, Dtype dtype, float value) {
  if (dtype == Dtype::kF32)
    *reinterpret_cast<float*>(address) = value;
  else if (dtype == Dtype::kF16)
    *reinterpret_cast<unsigned short*>(address) =
        static_cast<unsigned short>(pair_of<Dtype::kF16>(value, 0.0f));
  else
    *reinterpret_cast<unsigned short*>(address) =
        static_cast<unsigned short>(pair_of<Dtype::kBf16>(value, 0.0f));
}

}  // namespace strobe::kernel
