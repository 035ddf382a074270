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

// The weights of values up to 2 in two parts, high * 2^20 + low, the lower one signed, by additions that
// leave no bits for a fraction. What is left of a value behind its high part is exact, so that the low one's
// rounding is that of the whole.
struct Weights {
  U32 high, low;
};
STROBE_INLINE Weights weights_of(F32 values) {
  static_assert(kernel::kUnitWeight == 0x1p40f);
  constexpr float kHighShift = 8388608.0f, kLowShift = 12582912.0f;  // 2^23, 1.5 * 2^23
  constexpr uint32_t kHighWord = 0x4b000000, kLowWord = 0x4b400000;
  const F32 whole = values * 0x1p20f + kHighShift;
  const F32 rest = values * 0x1p20f - (whole - kHighShift);
  return {bits(whole) - kHighWord, bits(rest * 0x1p20f + kLowShift) - kLowWord};
}
STROBE_INLINE uint64_t joined(uint32_t high, uint32_t low) {
  return (static_cast<uint64_t>(high) << 20) +
         static_cast<uint64_t>(static_cast<int64_t>(static_cast<int32_t>(low)));
}
STROBE_INLINE uint64_t weight_of_lane(const Weights& w, int lane) {
  return joined(w.high[lane], w.low[lane]);
}

// Some of the lanes. Comparisons are false of NaN.
#if defined(STROBE_SIMD_AVX512)
typedef uint16_t Lanes;
STROBE_INLINE Lanes lanes_before(int n) { return static_cast<Lanes>((1u << n) - 1); }
STROBE_INLINE Lanes at_least(F32 x, F32 y, Lanes of) {
  Lanes r;
  asm("vcmpgeps %2, %1, %0%{%3%}" : "=Yk"(r) : "v"(x), "v"(y), "Yk"(of));
  return r;
}
STROBE_INLINE Lanes below(F32 x, F32 y, Lanes of) {
  Lanes r;
  asm("vcmpltps %2, %1, %0%{%3%}" : "=Yk"(r) : "v"(x), "v"(y), "Yk"(of));
  return r;
}
STROBE_INLINE F32 select(Lanes lanes, F32 inside, F32 outside) {
  F32 r;
  asm("vblendmps %1, %2, %0%{%3%}" : "=v"(r) : "v"(inside), "v"(outside), "Yk"(lanes));
  return r;
}
STROBE_INLINE U32 add_in(Lanes lanes, U32 sum, U32 x) {
  asm("vpaddd %1, %0, %0%{%2%}" : "+v"(sum) : "v"(x), "Yk"(lanes));
  return sum;
}
STROBE_INLINE bool any(Lanes lanes) { return lanes != 0; }
STROBE_INLINE bool has(Lanes lanes, int lane) { return (lanes >> lane & 1) != 0; }
STROBE_INLINE int count(Lanes lanes) { return __builtin_popcount(lanes); }
// Writes the lanes of x, in their order, to `out`, which has room for all.
STROBE_INLINE void compress(float* out, F32 x, Lanes lanes) {
  F32 packed;
  asm("vcompressps %1, %0%{%2%}%{z%}" : "=v"(packed) : "v"(x), "Yk"(lanes));
  store(out, packed);
}
#else
typedef I32 Lanes;
STROBE_INLINE Lanes lanes_before(int n) { return first_lanes(n); }
STROBE_INLINE Lanes at_least(F32 x, F32 y, Lanes of) { return (x >= y) & of; }
STROBE_INLINE Lanes below(F32 x, F32 y, Lanes of) { return (x < y) & of; }
STROBE_INLINE U32 add_in(Lanes lanes, U32 sum, U32 x) { return sum + ((U32)lanes & x); }
STROBE_INLINE bool has(Lanes lanes, int lane) { return lanes[lane] != 0; }
STROBE_INLINE int count(Lanes lanes) { return static_cast<int>(reduce_add((U32)-lanes)); }
STROBE_INLINE void compress(float* out, F32 x, Lanes lanes) {
  for (int i = 0, to = 0; i < kLanes; ++i) {
    out[to] = x[i];
    to -= lanes[i];
  }
}
#endif
STROBE_INLINE Lanes all_lanes() { return lanes_before(kLanes); }

// How many lanes were counted.
struct LaneCount {
  U32 lanes = {};
  __attribute__((always_inline)) void add(Lanes counted) { lanes = add_in(counted, lanes, splat(1u)); }
  __attribute__((always_inline)) uint64_t total() const { return reduce_add(lanes); }
};

// The sum of the weights of up to kBlock tokens.
inline constexpr int64_t kBlock = 1024;
struct WeightSum {
  U32 high = {}, low = {};
  __attribute__((always_inline)) void add(const Weights& w, Lanes counted) {
    high = add_in(counted, high, w.high);
    low = add_in(counted, low, w.low);
  }
  __attribute__((always_inline)) uint64_t total() const { return joined(reduce_add(high), reduce_add(low)); }
};

// Unsigned numbers in the order of the values, and back.
STROBE_INLINE uint32_t key_of_logit(float x) {
  const uint32_t word = bits(x + 0.0f);
  return word >> 31 != 0 ? ~word : word | 0x80000000u;
}
STROBE_INLINE float logit_of_key(uint32_t key) {
  return from_bits(key >> 31 != 0 ? key & 0x7fffffffu : ~key);
}

}  // namespace strobe::cpu::STROBE_ISA
