// Conversions between f32 and pairs of narrower floats: to nearest, ties to even. A pair lies in the low bits
// of a word, its first element lowest.
#pragma once

#include "ptx/half.h"
#include "tile/dtype.h"
#include "tile/ints.h"

namespace strobe::kernel {

STROBE_DEVICE uint32_t bits_of(float x) { return __float_as_uint(x); }
STROBE_DEVICE float float_of(uint32_t bits) { return __uint_as_float(bits); }

// One f32 as e4m3 or e5m2 by bit arithmetic. Finite values beyond the format become its largest; infinity
// stays in e5m2 and becomes 448 in e4m3; NaN stays.
template <Dtype kDtype>
STROBE_DEVICE uint32_t fp8_of(float x) {
  constexpr bool kE4m3 = kDtype == Dtype::kE4m3;
  constexpr int kMantissa = kE4m3 ? 3 : 2, kBias = kE4m3 ? 7 : 15, kShift = 23 - kMantissa;
  constexpr float kLargest = kE4m3 ? 448.0f : 57344.0f;
  constexpr float kLeastNormal = kE4m3 ? 0x1p-6f : 0x1p-14f;
  constexpr uint32_t kInf = kE4m3 ? 0x7e : 0x7c, kNan = kE4m3 ? 0x7f : 0x7e;
  // Added to a subnormal, it leaves the number of the format's steps in the lowest bits, rounded.
  constexpr float kSteps = kE4m3 ? 0x1p14f : 0x1p7f;
  const uint32_t sign = bits_of(x) >> 24 & 0x80;
  const float magnitude = fabsf(x), finite = fminf(magnitude, kLargest);
  const uint32_t bits = bits_of(finite);
  const uint32_t rounded = bits + ((1u << (kShift - 1)) - 1) + (bits >> kShift & 1);
  const uint32_t normal = (rounded - ((127 - kBias) << 23)) >> kShift;
  const uint32_t subnormal = bits_of(__fadd_rn(finite, kSteps)) - bits_of(kSteps);
  uint32_t value = finite < kLeastNormal ? subnormal : normal;
  if (magnitude == __int_as_float(0x7f800000)) value = kInf;
  if (magnitude != magnitude) value = kNan;
  return sign | value;
}

// Two f32 as a pair of kDtype.
template <Dtype kDtype>
STROBE_DEVICE uint32_t pair_of(float first, float second) {
  uint32_t pair;
  if constexpr (kDtype == Dtype::kBf16) {
    asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(pair) : "f"(second), "f"(first));
  } else if constexpr (kDtype == Dtype::kF16) {
    asm("cvt.rn.f16x2.f32 %0, %1, %2;" : "=r"(pair) : "f"(second), "f"(first));
  } else {
#if __CUDA_ARCH__ >= 890
    if constexpr (kDtype == Dtype::kE4m3) {
      asm("{ .reg .b16 h; cvt.rn.satfinite.e4m3x2.f32 h, %1, %2; cvt.u32.u16 %0, h; }"
          : "=r"(pair)
          : "f"(second), "f"(first));
    } else {
      asm("{ .reg .b16 h; cvt.rn.satfinite.e5m2x2.f32 h, %1, %2; cvt.u32.u16 %0, h; }"
          : "=r"(pair)
          : "f"(second), "f"(first));
      // The instruction makes infinity 57344 (0x7b); one more is e5m2's infinity.
      if (fabsf(first) == __int_as_float(0x7f800000)) pair += 1;
      if (fabsf(second) == __int_as_float(0x7f800000)) pair += 1 << 8;
    }
#else
    pair = fp8_of<kDtype>(first) | fp8_of<kDtype>(second) << 8;
#endif
  }
  return pair;
}

// Four f32 as e4m3, the first lowest; what is beyond the format becomes its largest.
STROBE_DEVICE uint32_t four_of_e4m3(float x0, float x1, float x2, float x3) {
#if __CUDA_ARCH__ >= 890
  uint32_t four;
  asm("{ .reg .b16 low, high; cvt.rn.satfinite.e4m3x2.f32 low, %2, %1; cvt.rn.satfinite.e4m3x2.f32 high, %4, "
      "%3; "
      "mov.b32 %0, {low, high}; }"
      : "=r"(four)
      : "f"(x0), "f"(x1), "f"(x2), "f"(x3));
  return four;
#else
  return pair_of<Dtype::kE4m3>(x0, x1) | pair_of<Dtype::kE4m3>(x2, x3) << 16;
#endif
}

// Two e4m3 or e5m2, which are the upper bytes of the halves of `raised`, as a pair of f16.
template <Dtype kDtype>
STROBE_DEVICE uint32_t f16_pair_of(uint32_t raised) {
  if constexpr (kDtype == Dtype::kE5m2) return raised;
  // Sign, a 0, exponent, mantissa: 2^-8 of the value, as f16 has the larger bias.
  const uint32_t small = (raised & 0x80008000) | ((raised & 0x7f007f00) >> 1);
  const uint32_t pair = multiply_f16(small, 0x5c005c00);
  // NaN has become 480, 0x5f80, which is more than any other value.
  const uint32_t nan = ((pair & 0x7fff7fff) + 0x20802080) & 0x80008000;
  return pair | (nan - (nan >> 15));
}

template <Dtype kDtype>
STROBE_DEVICE void f16_pairs_by_bits(uint32_t four, uint32_t& first, uint32_t& second) {
  first = f16_pair_of<kDtype>(__byte_perm(four, 0, 0x1404));
  second = f16_pair_of<kDtype>(__byte_perm(four, 0, 0x3424));
}

// Four e4m3 or e5m2 as two pairs of f16: exactly; NaN stays NaN.
template <Dtype kDtype>
STROBE_DEVICE void f16_pairs_of(uint32_t four, uint32_t& first, uint32_t& second) {
#if __CUDA_ARCH__ >= 890
  if constexpr (kDtype == Dtype::kE4m3) {
    asm("{ .reg .b16 a, b; mov.b32 {a, b}, %2; cvt.rn.f16x2.e4m3x2 %0, a; cvt.rn.f16x2.e4m3x2 %1, b; }"
        : "=r"(first), "=r"(second)
        : "r"(four));
    return;
  }
#endif
  f16_pairs_by_bits<kDtype>(four, first, second);
}

// A pair of f16 or bf16 as two f32.
template <Dtype kDtype>
STROBE_DEVICE void floats_of(uint32_t pair, float& first, float& second) {
  if constexpr (kDtype == Dtype::kBf16) {
    first = float_of(pair << 16);
    second = float_of(pair & 0xffff0000);
  } else {
    asm("{ .reg .b16 a, b; mov.b32 {a, b}, %2; cvt.f32.f16 %0, a; cvt.f32.f16 %1, b; }"
        : "=f"(first), "=f"(second)
        : "r"(pair));
  }
}

}  // namespace strobe::kernel
