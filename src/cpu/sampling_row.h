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

// Half of a vector as doubles.
typedef double F64 __attribute__((vector_size(4 * kLanes)));
typedef float HalfF32 __attribute__((vector_size(2 * kLanes)));
#if defined(STROBE_SIMD_AVX512)
typedef LaneList<0, 1, 2, 3, 4, 5, 6, 7> HalfLanes;
#elif defined(STROBE_SIMD_AVX2)
typedef LaneList<0, 1, 2, 3> HalfLanes;
#else
typedef LaneList<0, 1> HalfLanes;
#endif
inline constexpr int kHalfLanes = kLanes / 2;

template <int kFirst, int... kLane>
STROBE_INLINE F64 half(F32 x, LaneList<kLane...>) {
  return __builtin_convertvector((HalfF32)__builtin_shufflevector(x, x, (kFirst + kLane)...), F64);
}

// The weights of values as whole numbers: adding 2^52 leaves no bits for a fraction.
struct Weights {
  F64 half[2];
};
STROBE_INLINE Weights weights_of(F32 values) {
  const F32 scaled = values * kernel::kUnitWeight;
  Weights w{{half<0>(scaled, HalfLanes{}), half<kHalfLanes>(scaled, HalfLanes{})}};
  for (F64& x : w.half) x = (x + 0x1p52) - 0x1p52;
  return w;
}

// Sums of weights: exact for up to kBlock tokens of weight 2^41 at most, which stay below 2^52.
inline constexpr int64_t kBlock = 1024;
struct WeightSum {
  F64 sum[2] = {};
  __attribute__((always_inline)) void add(F32 values) {
    const Weights w = weights_of(values);
    for (int i = 0; i < 2; ++i) sum[i] += w.half[i];
  }
  __attribute__((always_inline)) uint64_t total() const {
    const F64 both = sum[0] + sum[1];
    double all = 0;
    for (int i = 0; i < kHalfLanes; ++i) all += both[i];
    return static_cast<uint64_t>(all);
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
