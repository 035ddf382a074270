// The weights of kernels/sampling/weight.h on vectors, with the same bits, and their sums.
#pragma once

#include "cpu/simd.h"
#include "sampling/weight_constants.h"

namespace strobe::cpu::STROBE_ISA {

// a * b + c with one rounding on every level.
STROBE_INLINE F32 fused(F32 a, F32 b, F32 c) {
#if defined(__FMA__) || defined(__ARM_FEATURE_FMA)
  return fma(a, b, c);
#else
  for (int i = 0; i < kLanes; ++i) c[i] = __builtin_fmaf(a[i], b[i], c[i]);
  return c;
#endif
}

// 2^((x - largest) * factor), 0 where that is below 2^-126.
STROBE_INLINE F32 exponential(F32 x, float largest, float factor) {
  const F32 kShift = splat(12582912.0f);
  const F32 difference = x - largest;
  const F32 shifted = fused(difference, splat(factor), kShift);
  const F32 whole = shifted - kShift;
  const F32 f = fused(difference, splat(factor), -whole);
  F32 power = splat(kernel::kExp2[5]);
  for (int i = 4; i >= 0; --i) power = fused(power, f, splat(kernel::kExp2[i]));
  const F32 scale = from_bits((bits(shifted) << 23) + (127u << 23));
  return select(whole >= splat(-126.0f), power * scale, F32{});
}

// The weights of values up to 2, in two numbers: high * 2^20 + low. What is left of a product behind the high
// one is exact, so that the low one's rounding (1.5 * 2^23 leaves no bits for a fraction) is that of the
// whole.
struct Weights {
  I32 high, low;
};
STROBE_INLINE Weights weights_of(F32 values) {
  static_assert(kernel::kUnitWeight == 0x1p40f);
  const F32 scaled = values * 0x1p20f;
  const I32 high = to_i32(scaled);
  const F32 rest = (scaled - to_f32(high)) * 0x1p20f + 12582912.0f;
  return {high, (I32)(bits(rest) - bits(splat(12582912.0f)))};
}
STROBE_INLINE uint64_t weight_of_lane(const Weights& w, int lane) {
  return (static_cast<uint64_t>(w.high[lane]) << 20) + static_cast<uint64_t>(w.low[lane]);
}

// Sums of weights over a block of tokens: a lane adds up to 256 of them.
inline constexpr int64_t kBlock = 1024;
struct WeightSum {
  Weights sum = {};
  __attribute__((always_inline)) void add(const Weights& w, I32 counted) {
    sum.high += w.high & counted;
    sum.low += w.low & counted;
  }
  __attribute__((always_inline)) uint64_t total() const {
    uint64_t high = 0, low = 0;
    for (int lane = 0; lane < kLanes; ++lane) {
      high += static_cast<uint32_t>(sum.high[lane]);
      low += static_cast<uint32_t>(sum.low[lane]);
    }
    return (high << 20) + low;
  }
};

// Unsigned numbers in the order of the values, and back.
STROBE_INLINE uint32_t key_of_logit(float x) {
  const uint32_t word = bits(x + 0.0f);
  return word >> 31 != 0 ? ~word : word | 0x80000000u;
}
STROBE_INLINE float logit_of_key(uint32_t key) {
  return from_bits(key >> 31 != 0 ? key & 0x7fffffffu : ~key);
}

// Writes the set lanes of x, in their order, to `out`, which has room for all lanes; returns how many.
STROBE_INLINE int compress(float* out, F32 x, I32 mask) {
#if defined(STROBE_SIMD_AVX512)
  uint16_t set;
  F32 packed;
  asm("vpmovd2m %2, %0\n\tvcompressps %3, %1%{%0%}%{z%}" : "=&Yk"(set), "=v"(packed) : "v"(mask), "v"(x));
  store(out, packed);
  return __builtin_popcount(set);
#else
  int count = 0;
  for (int i = 0; i < kLanes; ++i) {
    out[count] = x[i];
    count -= mask[i];
  }
  return count;
#endif
}

}  // namespace strobe::cpu::STROBE_ISA
