// Rows of any float format to f32 and back, and exponentials, in plain C++ that compilers vectorise.
#pragma once

#include "tile/dtype.h"

namespace strobe::kernel {

STROBE_DEVICE uint32_t bits_of(float x) { return __builtin_bit_cast(uint32_t, x); }
STROBE_DEVICE float float_of(uint32_t bits) { return __builtin_bit_cast(float, bits); }

// A narrow float whose exponent has kExponent bits and whose mantissa has kMantissa, from `bits` without its
// sign: its f32 is too small by a power of two when the bits are moved into place.
template <int kExponent, int kMantissa, bool kHasInfinity>
STROBE_DEVICE float widen(uint32_t magnitude, uint32_t sign) {
  constexpr float kScale = kExponent == 5 ? 0x1p112f : 0x1p120f;
  constexpr uint32_t kSpecial = kHasInfinity ? 31u << kMantissa : 0x7f;  // and beyond: Inf and NaN
  const float value = float_of(magnitude << (23 - kMantissa)) * kScale;
  const uint32_t special = kHasInfinity && magnitude == kSpecial ? 0x7f800000u : 0x7fc00000u;
  return float_of((magnitude >= kSpecial ? special : bits_of(value)) | sign);
}

STROBE_DEVICE float f16_as_float(uint32_t bits) {
  return widen<5, 10, true>(bits & 0x7fff, (bits & 0x8000) << 16);
}
STROBE_DEVICE float e4m3_as_float(uint32_t bits) {
  return widen<4, 3, false>(bits & 0x7f, (bits & 0x80) << 24);
}
STROBE_DEVICE float e5m2_as_float(uint32_t bits) {
  return widen<5, 2, true>(bits & 0x7f, (bits & 0x80) << 24);
}

STROBE_DEVICE void load_row(const char* from, Dtype dtype, int32_t count, float* to) {
  const auto* words = reinterpret_cast<const unsigned short*>(from);
  const auto* bytes = reinterpret_cast<const unsigned char*>(from);
  if (dtype == Dtype::kF32)
    __builtin_memcpy(to, from, sizeof(float) * static_cast<uint64_t>(count));
  else if (dtype == Dtype::kF16)
    for (int32_t i = 0; i < count; ++i) to[i] = f16_as_float(words[i]);
  else if (dtype == Dtype::kBf16)
    for (int32_t i = 0; i < count; ++i) to[i] = float_of(static_cast<uint32_t>(words[i]) << 16);
  else if (dtype == Dtype::kE4m3)
    for (int32_t i = 0; i < count; ++i) to[i] = e4m3_as_float(bytes[i]);
  else
    for (int32_t i = 0; i < count; ++i) to[i] = e5m2_as_float(bytes[i]);
}

// To nearest, ties to even; a NaN stays one.
STROBE_DEVICE uint32_t bf16_of(float x) {
  const uint32_t bits = bits_of(x), rounded = (bits + 0x7fff + (bits >> 16 & 1)) >> 16;
  return x != x ? bits >> 16 | 0x40 : rounded;
}
STROBE_DEVICE uint32_t f16_of(float x) {
  const uint32_t bits = bits_of(x), magnitude = bits & 0x7fffffff, sign = bits >> 16 & 0x8000;
  // Below 2^-14 the sum with 0.5 leaves the steps of f16 in its lowest bits, rounded.
  const uint32_t small = bits_of(float_of(magnitude) + 0.5f) - bits_of(0.5f);
  const uint32_t normal = (magnitude + 0xfff + (magnitude >> 13 & 1) - (112u << 23)) >> 13;
  const uint32_t large = magnitude > 0x7f800000 ? 0x7e00 : 0x7c00;
  return sign | (magnitude >= 0x477ff000 ? large : magnitude < 0x38800000 ? small : normal);
}

STROBE_DEVICE void store(char* to, Dtype dtype, float x) {
  if (dtype == Dtype::kF32)
    *reinterpret_cast<float*>(to) = x;
  else
    *reinterpret_cast<unsigned short*>(to) =
        static_cast<unsigned short>(dtype == Dtype::kF16 ? f16_of(x) : bf16_of(x));
}

// 2^x for x <= 0, relative error 2^-22; below 2^-126 it is 0. NaN stays.
STROBE_DEVICE float exp2_of(float x) {
  constexpr float kRound = 0x1.8p23f;  // x + kRound has the nearest integer in its lowest bits
  const float rounded = x + kRound;
  const float f = (x - (rounded - kRound)) * 0.693147180559945309417f;
  float y = 1.0f / 5040;
  y = y * f + 1.0f / 720;
  y = y * f + 1.0f / 120;
  y = y * f + 1.0f / 24;
  y = y * f + 1.0f / 6;
  y = y * f + 0.5f;
  y = y * f + 1.0f;
  y = y * f + 1.0f;
  const float power = float_of((bits_of(rounded) - bits_of(kRound) + 127) << 23);
  return x < -126.0f ? 0.0f : y * power;
}

}  // namespace strobe::kernel
