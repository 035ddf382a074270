// The vector layer of the CPU kernels: one vector width per ISA level, on compiler vector extensions plus a
// few instructions by name. A source that includes it is compiled once per level with that level's flags and
// -DSTROBE_ISA=<level>.
//
//   level                    F32 lanes   needs
//   portable                     4       nothing beyond the architecture's baseline (SSE2, NEON)
//   avx2                         8       -mavx2 -mfma -mf16c
//   avx512                      16       -mavx512{f,bw,vl,dq,cd} and the above
//   avx512_bf16                 16       -mavx512{bf16,vnni,vbmi} and the above (Zen 4, Sapphire Rapids)
//   neon, neon_bf16              4       -march=armv8.2-a[+bf16]
//
// Everything is static and always inlined, and lives in the level's namespace: the linker must never be able
// to take one level's copy of a function for another's. For the same reason nothing here includes more than
// <stdint.h>.
//
//   simd.h          F32, I32, arithmetic, masks, reductions, prefetch
//   simd_convert.h  the 16- and 8-bit float formats
//   simd_memory.h   load, store, stream (full, first n lanes, non-temporal)
//   simd_math.h     exp2, tanh, erf
#pragma once

#include <stddef.h>
#include <stdint.h>

#ifndef STROBE_ISA
#error "compile with -DSTROBE_ISA=<level>: the namespace of this ISA level"
#endif

#if defined(__AVX512F__) && defined(__AVX512BW__) && defined(__AVX512VL__) && defined(__AVX512DQ__)
#define STROBE_SIMD_AVX512 1
#elif defined(__AVX2__) && defined(__FMA__) && defined(__F16C__)
#define STROBE_SIMD_AVX2 1
#endif

#define STROBE_INLINE static inline __attribute__((always_inline))

namespace strobe::cpu::STROBE_ISA {

#if defined(STROBE_SIMD_AVX512)
inline constexpr int kLanes = 16;
#elif defined(STROBE_SIMD_AVX2)
inline constexpr int kLanes = 8;
#else
inline constexpr int kLanes = 4;
#endif

typedef float F32 __attribute__((vector_size(4 * kLanes)));
typedef int32_t I32
    __attribute__((vector_size(4 * kLanes)));  // also a mask: lanes are 0 or -1, as comparisons give
typedef uint32_t U32 __attribute__((vector_size(4 * kLanes)));
typedef uint16_t U16 __attribute__((vector_size(2 * kLanes)));
typedef uint8_t U8 __attribute__((vector_size(kLanes)));

// The lane numbers as a parameter pack, for shuffles.
template <int... kLane>
struct LaneList {};
#if defined(STROBE_SIMD_AVX512)
typedef LaneList<0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15> AllLanes;
#elif defined(STROBE_SIMD_AVX2)
typedef LaneList<0, 1, 2, 3, 4, 5, 6, 7> AllLanes;
#else
typedef LaneList<0, 1, 2, 3> AllLanes;
#endif

STROBE_INLINE F32 splat(float x) { return F32{} + x; }
STROBE_INLINE I32 splat(int32_t x) { return I32{} + x; }
STROBE_INLINE U32 splat(uint32_t x) { return U32{} + x; }

template <int... kLane>
STROBE_INLINE I32 lane_numbers(LaneList<kLane...>) {
  return I32{kLane...};
}
STROBE_INLINE I32 lane_numbers() { return lane_numbers(AllLanes{}); }  // 0, 1, 2, …

// Bit patterns.
STROBE_INLINE U32 bits(F32 x) { return (U32)x; }
STROBE_INLINE F32 from_bits(U32 x) { return (F32)x; }
STROBE_INLINE uint32_t bits(float x) { return __builtin_bit_cast(uint32_t, x); }
STROBE_INLINE float from_bits(uint32_t x) { return __builtin_bit_cast(float, x); }

// Values. `to_i32` truncates; out-of-range and NaN lanes are unspecified.
STROBE_INLINE I32 to_i32(F32 x) { return __builtin_convertvector(x, I32); }
STROBE_INLINE F32 to_f32(I32 x) { return __builtin_convertvector(x, F32); }

// a * b + c; one rounding where the level has FMA, two on portable x86-64.
STROBE_INLINE F32 fma(F32 a, F32 b, F32 c) { return a * b + c; }

STROBE_INLINE F32 select(I32 mask, F32 if_set, F32 if_clear) { return mask ? if_set : if_clear; }
STROBE_INLINE I32 select(I32 mask, I32 if_set, I32 if_clear) { return mask ? if_set : if_clear; }
STROBE_INLINE U32 select(I32 mask, U32 if_set, U32 if_clear) { return mask ? if_set : if_clear; }
STROBE_INLINE I32 first_lanes(int n) { return lane_numbers() < n; }  // set in lanes 0 … n-1

// a > b ? a : b and a < b ? a : b. When either is NaN the result is b: min(limit, x) and max(limit, x) keep
// x's NaN, max(x, limit) drops it.
STROBE_INLINE F32 max(F32 a, F32 b) {
#if defined(STROBE_SIMD_AVX512) || defined(STROBE_SIMD_AVX2)
  F32 r;
  asm("vmaxps %2, %1, %0" : "=v"(r) : "v"(a), "v"(b));
  return r;
#else
  return a > b ? a : b;
#endif
}
STROBE_INLINE F32 min(F32 a, F32 b) {
#if defined(STROBE_SIMD_AVX512) || defined(STROBE_SIMD_AVX2)
  F32 r;
  asm("vminps %2, %1, %0" : "=v"(r) : "v"(a), "v"(b));
  return r;
#else
  return a < b ? a : b;
#endif
}

STROBE_INLINE F32 abs(F32 x) { return from_bits(bits(x) & 0x7fffffffu); }
STROBE_INLINE F32 copy_sign(F32 magnitude, F32 sign) {
  return from_bits((bits(magnitude) & 0x7fffffffu) | (bits(sign) & 0x80000000u));
}

STROBE_INLINE F32 sqrt(F32 x) {
  F32 r;
#if defined(STROBE_SIMD_AVX512) || defined(STROBE_SIMD_AVX2)
  asm("vsqrtps %1, %0" : "=v"(r) : "v"(x));
#elif defined(__x86_64__)
  asm("sqrtps %1, %0" : "=x"(r) : "x"(x));
#elif defined(__aarch64__)
  asm("fsqrt %0.4s, %1.4s" : "=w"(r) : "w"(x));
#else
  for (int i = 0; i < kLanes; ++i) r[i] = __builtin_sqrtf(x[i]);
#endif
  return r;
}
STROBE_INLINE F32 rsqrt(F32 x) { return 1.0f / sqrt(x); }

// The nearest integer, ties to even, for |x| < 2^22 (adding 1.5 * 2^23 leaves no bits for a fraction).
STROBE_INLINE F32 round_even(F32 x) {
  const F32 shift = splat(12582912.0f);
  return (x + shift) - shift;
}

// Lane i of the result is lane i ^ kMask of x.
template <int kMask, int... kLane>
STROBE_INLINE F32 swap_lanes(F32 x, LaneList<kLane...>) {
  return __builtin_shufflevector(x, x, (kLane ^ kMask)...);
}
template <int kMask>
STROBE_INLINE F32 swap_lanes(F32 x) {
  return swap_lanes<kMask>(x, AllLanes{});
}

// Sum and maximum over the lanes by halving: always in the same order. The maximum of a vector with NaN is
// unspecified.
STROBE_INLINE float reduce_add(F32 x) {
  if constexpr (kLanes > 8) x += swap_lanes<8 % kLanes>(x);
  if constexpr (kLanes > 4) x += swap_lanes<4 % kLanes>(x);
  x += swap_lanes<2>(x);
  x += swap_lanes<1>(x);
  return x[0];
}
STROBE_INLINE U32 larger(U32 a, U32 b) { return a > b ? a : b; }
STROBE_INLINE uint32_t reduce_max(U32 x) {
  if constexpr (kLanes > 8) x = larger(x, bits(swap_lanes<8 % kLanes>(from_bits(x))));
  if constexpr (kLanes > 4) x = larger(x, bits(swap_lanes<4 % kLanes>(from_bits(x))));
  x = larger(x, bits(swap_lanes<2>(from_bits(x))));
  x = larger(x, bits(swap_lanes<1>(from_bits(x))));
  return x[0];
}
STROBE_INLINE uint32_t reduce_add(U32 x) {
  if constexpr (kLanes > 8) x += bits(swap_lanes<8 % kLanes>(from_bits(x)));
  if constexpr (kLanes > 4) x += bits(swap_lanes<4 % kLanes>(from_bits(x)));
  x += bits(swap_lanes<2>(from_bits(x)));
  x += bits(swap_lanes<1>(from_bits(x)));
  return x[0];
}
STROBE_INLINE float reduce_max(F32 x) {
  if constexpr (kLanes > 8) x = max(x, swap_lanes<8 % kLanes>(x));
  if constexpr (kLanes > 4) x = max(x, swap_lanes<4 % kLanes>(x));
  x = max(x, swap_lanes<2>(x));
  x = max(x, swap_lanes<1>(x));
  return x[0];
}

// Whether any lane of a mask is set.
STROBE_INLINE bool any(I32 mask) {
#if defined(STROBE_SIMD_AVX512)
  uint16_t set;
  asm("vpmovd2m %1, %0" : "=Yk"(set) : "v"(mask));
  return set != 0;
#elif defined(STROBE_SIMD_AVX2)
  int set;
  asm("vmovmskps %1, %0" : "=r"(set) : "x"(mask));
  return set != 0;
#else
  typedef int64_t I64 __attribute__((vector_size(16)));
  const I64 halves = (I64)mask;
  return (halves[0] | halves[1]) != 0;
#endif
}

// A hint to bring the line of `p` into the first-level cache; any address is allowed.
STROBE_INLINE void prefetch(const void* p) { __builtin_prefetch(p, 0, 3); }
// The same into the second-level cache.
STROBE_INLINE void prefetch_far(const void* p) { __builtin_prefetch(p, 0, 2); }
// A line that is going to be written, into the first-level cache.
STROBE_INLINE void prefetch_to_write(void* p) { __builtin_prefetch(p, 1, 3); }
// For data that is read once: into the first level, and not kept in the others.
STROBE_INLINE void prefetch_once(const void* p) { __builtin_prefetch(p, 0, 0); }

}  // namespace strobe::cpu::STROBE_ISA

#include "cpu/simd_convert.h"
#include "cpu/simd_math.h"
#include "cpu/simd_memory.h"
