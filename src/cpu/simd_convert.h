// The 16- and 8-bit float formats in vectors; the rules are those of strobe/dtype.h, bit for bit
// (tests/cpu_simd_test.cc). Included by simd.h.
#pragma once

#include "cpu/simd.h"

namespace strobe::cpu::STROBE_ISA {

// Storage tags, layout-compatible with strobe::F16, Bf16, E4m3 and E5m2, which kernels must not include.
struct f16_t {
  uint16_t bits;
};
struct bf16_t {
  uint16_t bits;
};
struct e4m3_t {
  uint8_t bits;
};
struct e5m2_t {
  uint8_t bits;
};

// Bits<T>: a vector of kLanes stored elements of type T.
template <class T>
struct BitsOf;
template <>
struct BitsOf<float> {
  typedef F32 type;
};
template <>
struct BitsOf<f16_t> {
  typedef U16 type;
};
template <>
struct BitsOf<bf16_t> {
  typedef U16 type;
};
template <>
struct BitsOf<e4m3_t> {
  typedef U8 type;
};
template <>
struct BitsOf<e5m2_t> {
  typedef U8 type;
};
template <class T>
using Bits = typename BitsOf<T>::type;

// Value of a magnitude in a small format with infinities (exponent bias `kBias`, `kMantissa` fraction bits):
// moved to f32's field positions the exponent is too small by 127 - kBias. Subnormals get their implicit bit
// by addition and lose it by subtraction, so no f32 subnormal (slow on some processors) ever occurs.
template <int kMantissa, int kBias>
STROBE_INLINE U32 widen_magnitude(U32 magnitude) {
  constexpr uint32_t kOne = 1u << 23, kRebias = (127u - kBias) << 23;
  constexpr uint32_t kTop = static_cast<uint32_t>(2 * kBias + 1)
                            << 23;  // the all-ones exponent: infinities and NaN
  const U32 moved = magnitude << (23 - kMantissa);
  const U32 normal = moved + kRebias;
  const U32 top = normal + kRebias;
  const U32 subnormal = bits(from_bits(normal + kOne) - from_bits(splat(kRebias + kOne)));
  return select((I32)(moved < kOne), subnormal, select((I32)(moved >= kTop), top, normal));
}

// The magnitude bits of `a` >= 0, finite or infinite, in such a format, rounded to nearest even. Exponents
// beyond the format's range continue upwards: the caller clamps.
template <int kMantissa, int kBias>
STROBE_INLINE U32 narrow_magnitude(F32 a) {
  constexpr int kShift = 23 - kMantissa;
  constexpr uint32_t kRebias = (127u - kBias) << kMantissa;
  constexpr float kSmallestNormal = __builtin_bit_cast(float, (127u - kBias + 1) << 23);
  // Adding 2^23 smallest steps of the format rounds to them and leaves their count in the low bits.
  constexpr float kSteps = __builtin_bit_cast(float, (127u - kBias + 1 + kShift) << 23);
  const U32 u = bits(a);
  const U32 normal = ((u + ((1u << (kShift - 1)) - 1) + ((u >> kShift) & 1)) >> kShift) - kRebias;
  const U32 subnormal = bits(a + kSteps) - bits(kSteps);
  return select(a < kSmallestNormal, subnormal, normal);
}

// The magnitude bits of 0 <= a <= the format's largest finite value, rounded to nearest even, in the low 8
// bits of each lane; what is above them means nothing. At a's exponent e (of subnormals, the smallest normal
// one), adding 2^(e + 23 - kMantissa) rounds to kMantissa fraction bits and leaves 2^kMantissa + fraction in
// the low bits of the sum; e's own bits complete the code up to a constant, which the addend carries along.
template <int kMantissa, int kBias>
STROBE_INLINE U32 narrow_to_8_bits(F32 a) {
  constexpr float kSmallestNormal = __builtin_bit_cast(float, (127u - kBias + 1) << 23);
  constexpr uint32_t kAddend = ((23u - kMantissa) << 23) + (-((128u - kBias) << kMantissa) & 0xff);
  const U32 exponent = bits(max(splat(kSmallestNormal), a)) & 0x7f800000u;
  return bits(a + from_bits(exponent + kAddend)) + (exponent >> (23 - kMantissa));
}

// Lanes of stored bits as 32-bit lanes, and the low halves of those. Of a conversion to or from 512 bits GCC
// makes several shuffles where there is one instruction.
STROBE_INLINE U32 to_u32(U16 x) {
#if defined(STROBE_SIMD_AVX512)
  U32 r;
  asm("vpmovzxwd %1, %0" : "=v"(r) : "vm"(x));
  return r;
#else
  return __builtin_convertvector(x, U32);
#endif
}
STROBE_INLINE U16 to_u16(U32 x) {
#if defined(STROBE_SIMD_AVX512)
  U16 r;
  asm("vpmovdw %1, %0" : "=v"(r) : "v"(x));
  return r;
#else
  return __builtin_convertvector(x, U16);
#endif
}
STROBE_INLINE U8 to_u8(U32 x) {
#if defined(STROBE_SIMD_AVX512)
  U8 r;
  asm("vpmovdb %1, %0" : "=v"(r) : "v"(x));
  return r;
#else
  return __builtin_convertvector(x, U8);
#endif
}

// widen: the f32 values of stored bits. Exact; NaN stays NaN.
STROBE_INLINE F32 widen(bf16_t, U16 x) { return from_bits(to_u32(x) << 16); }

STROBE_INLINE F32 widen(f16_t, U16 x) {
#if defined(STROBE_SIMD_AVX512) || defined(STROBE_SIMD_AVX2)
  F32 r;
  asm("vcvtph2ps %1, %0" : "=v"(r) : "v"(x));
  return r;
#elif defined(__aarch64__)
  F32 r;
  asm("fcvtl %0.4s, %1.4h" : "=w"(r) : "w"(x));
  return r;
#else
  const U32 u = to_u32(x);
  return from_bits(widen_magnitude<10, 15>(u & 0x7fffu) | (u & 0x8000u) << 16);
#endif
}

// e5m2 is the upper byte of f16.
STROBE_INLINE F32 widen(e5m2_t, U8 x) { return widen(f16_t{}, (U16)(__builtin_convertvector(x, U16) << 8)); }

// e4m3 moved to f16's fields reads 2^8 too small; the NaN pattern 0x7f (and only it) carries into bit 7 when
// one is added, which becomes the missing exponent bit of f16's NaN.
STROBE_INLINE F32 widen(e4m3_t, U8 x) {
  const U16 u = __builtin_convertvector(x, U16);
  const U16 magnitude = u & 0x7f;
  const U16 half = (U16)(magnitude << 7 | (U16)((U16)(magnitude + 1) & 0x80) << 7 | (U16)(u & 0x80) << 8);
  return widen(f16_t{}, half) * 256.0f;
}

STROBE_INLINE F32 widen(float, F32 x) { return x; }

// narrow: f32 values to stored bits, to nearest, ties to even; NaN stays NaN with its sign. f16 and bf16
// overflow to infinity, e4m3 and e5m2 saturate; an infinity stays one where the format has it (e4m3: ±448).
STROBE_INLINE U16 narrow(bf16_t, F32 x) {
  const U32 u = bits(x);
  const U32 rounded = (u + 0x7fff + ((u >> 16) & 1)) >> 16;
  return to_u16(select(x != x, (u >> 16) | 0x40, rounded));
}

// Whether the level narrows two vectors to bf16 in one instruction. It takes subnormals for 0, as the bf16
// dot product does; all else is as above.
#if defined(__AVX512BF16__)
#define STROBE_SIMD_PACKS_BF16 1
// `low` in the lower half of the result, `high` in the upper.
STROBE_INLINE U32 pack_bf16(F32 low, F32 high) {
  U32 r;
  asm("vcvtne2ps2bf16 %1, %2, %0" : "=v"(r) : "v"(low), "v"(high));
  return r;
}
#endif

STROBE_INLINE U16 narrow(f16_t, F32 x) {
#if defined(STROBE_SIMD_AVX512) || defined(STROBE_SIMD_AVX2)
  U16 r;
  asm("vcvtps2ph $0, %1, %0" : "=v"(r) : "v"(x));
  return r;
#elif defined(__aarch64__)
  U16 r;
  asm("fcvtn %0.4h, %1.4s" : "=w"(r) : "w"(x));
  return r;
#else
  const U32 magnitude = narrow_magnitude<10, 15>(abs(x));
  const U32 finite_or_inf = select((I32)(magnitude > 0x7c00), splat(0x7c00u), magnitude);
  const U32 sign = (bits(x) >> 16) & 0x8000;
  return to_u16(select(x != x, splat(0x7e00u), finite_or_inf) | sign);
#endif
}

// Whether the level moves bytes between any places of two vectors.
#if defined(__AVX512VBMI__)
#define STROBE_SIMD_PERMUTES_BYTES 1
#endif

// narrow_in_lane: the 8 bits in the low end of each lane, whose other bits mean nothing.
#if defined(STROBE_SIMD_AVX512)
// narrow_to_8_bits with the addend from a table: the low 4 bits of the exponents that e4m3 has are all
// different. Entry e holds 2^(e + 20), whose sum with a number of exponent e ends in its 3 fraction bits and
// the one before them, and in its own low bits what completes these to the code.
template <int... kLane>
STROBE_INLINE F32 e4m3_addends(LaneList<kLane...>) {
  constexpr int kSmallest = 127 - 6;  // exponent of the smallest normal e4m3, and of all subnormal ones
  constexpr auto addend = [](int lane) {
    const int exponent = kSmallest + ((lane - kSmallest) & 15);
    return static_cast<uint32_t>((exponent + 20) << 23 | (exponent - kSmallest) << 3);
  };
  return from_bits(U32{addend(kLane)...});
}
// The magnitude in the low 7 bits.
STROBE_INLINE U32 magnitude_in_lane(e4m3_t, F32 x) {
  F32 a, addend;
  // The smaller magnitude, positive; of NaN and a number, the number.
  asm("vrangeps $10, %2, %1, %0" : "=v"(a) : "v"(x), "v"(splat(448.0f)));
  const U32 exponent = bits(max(a, splat(0x1p-6f))) >> 23;
  asm("vpermps %2, %1, %0" : "=v"(addend) : "v"(exponent), "v"(e4m3_addends(AllLanes{})));
  F32 sum = a + addend;
  // Where x is NaN, quiet (4 lowest bits) or signalling: response 14, the largest float, which ends in ones.
  asm("vfixupimmps $0, %2, %1, %0" : "+v"(sum) : "v"(x), "v"(splat(0xeeu)));
  return bits(sum);
}
STROBE_INLINE U32 narrow_in_lane(e4m3_t, F32 x) {
  return (magnitude_in_lane(e4m3_t{}, x) & 0x7f) | ((bits(x) >> 24) & 0x80);
}
#else
STROBE_INLINE U32 narrow_in_lane(e4m3_t, F32 x) {
  const U32 magnitude = narrow_to_8_bits<3, 7>(min(splat(448.0f), abs(x)));
  const U32 sign = (bits(x) >> 24) & 0x80;
  return select(x != x, splat(0x7fu), magnitude) | sign;
}
#endif
STROBE_INLINE U32 narrow_in_lane(e5m2_t, F32 x) {
  const F32 a = abs(x);
  const U32 magnitude = narrow_to_8_bits<2, 15>(min(splat(57344.0f), a));
  const U32 sign = (bits(x) >> 24) & 0x80;
  const U32 with_inf = select(a == __builtin_inff(), splat(0x7cu), magnitude);
  return select(x != x, splat(0x7eu), with_inf) | sign;
}
STROBE_INLINE U8 narrow(e4m3_t, F32 x) { return to_u8(narrow_in_lane(e4m3_t{}, x)); }
STROBE_INLINE U8 narrow(e5m2_t, F32 x) { return to_u8(narrow_in_lane(e5m2_t{}, x)); }

STROBE_INLINE F32 narrow(float, F32 x) { return x; }

}  // namespace strobe::cpu::STROBE_ISA
