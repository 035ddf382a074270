// exp2, log2, tanh and erf on vectors. Polynomials are near-minimax fits (Chebyshev nodes, 40-digit
// arithmetic); the bounds stated here are checked against long double by tests/cpu_simd_test.cc. Included by
// simd.h.
#pragma once

#include "cpu/simd.h"

namespace strobe::cpu::STROBE_ISA {

// The functions whose chains of dependent operations are long take several vectors at once and alternate
// between them: the processor's window holds few such chains one after the other.

// r = c[0] + c[1] x + c[2] x^2 + …, vector by vector.
template <int kCount, int kVectors>
STROBE_INLINE void polynomial(const float (&c)[kCount], const F32 (&x)[kVectors], F32 (&r)[kVectors]) {
  for (F32& value : r) value = splat(c[kCount - 1]);
#pragma GCC unroll 16
  for (int i = kCount - 2; i >= 0; --i)
    for (int u = 0; u < kVectors; ++u) r[u] = fma(r[u], x[u], splat(c[i]));
}
template <int kCount>
STROBE_INLINE F32 polynomial(const float (&c)[kCount], F32 x) {
  F32 in[] = {x}, r[1];
  polynomial(c, in, r);
  return r[0];
}

// x = 2^x as 2^n * 2^r with n the nearest integer and |r| <= 1/2, given 2 * 2^r's polynomial: the second
// factor carries one power of two, so that n = 128 stays representable. exp2(-inf) = 0, exp2(+inf) = inf, NaN
// stays NaN; results below 2^-125 may be 0. AVX-512 rounds and scales in one instruction each, which know
// about the ends of the range.
template <int kCount, int kVectors>
STROBE_INLINE void exp2_by(const float (&twice)[kCount], F32 (&x)[kVectors]) {
  F32 r[kVectors], p[kVectors];
#if defined(STROBE_SIMD_AVX512)
  float once[kCount];
  for (int i = 0; i < kCount; ++i) once[i] = 0.5f * twice[i];
  F32 n[kVectors];
  for (int u = 0; u < kVectors; ++u) asm("vrndscaleps $8, %1, %0" : "=v"(n[u]) : "v"(x[u]));
  for (int u = 0; u < kVectors; ++u) r[u] = x[u] - n[u];
  polynomial(once, r, p);
  for (int u = 0; u < kVectors; ++u) asm("vscalefps %2, %1, %0" : "=v"(x[u]) : "v"(p[u]), "v"(n[u]));
#else
  F32 scale[kVectors];
  for (int u = 0; u < kVectors; ++u) {
    const F32 in_range = min(splat(129.0f), max(splat(-126.0f), x[u]));
    // The shifted sum holds n in its low bits; moved to the exponent field, only they survive.
    const F32 shifted = in_range + 12582912.0f;
    r[u] = in_range - (shifted - 12582912.0f);
    scale[u] = from_bits((bits(shifted) << 23) + (126u << 23));
  }
  polynomial(twice, r, p);
  for (int u = 0; u < kVectors; ++u) x[u] = p[u] * scale[u];
#endif
}
template <int kCount>
STROBE_INLINE F32 exp2_by(const float (&twice)[kCount], F32 x) {
  F32 value[] = {x};
  exp2_by(twice, value);
  return value[0];
}

// Of 2 * 2^r: relative error below 2e-7 (about 2 ulp).
inline constexpr float kTwiceExp2[] = {
    2.0f, 1.386293955f, 4.804448417e-1f, 1.110146749e-1f, 1.934302528e-2f, 2.652945439e-3f};
STROBE_INLINE F32 exp2(F32 x) { return exp2_by(kTwiceExp2, x); }
template <int kVectors>
STROBE_INLINE void exp2_each(F32 (&x)[kVectors]) {
  exp2_by(kTwiceExp2, x);
}

// Relative error below 8e-6: for values that are rounded to 16 bits next.
STROBE_INLINE F32 exp2_for_16_bits(F32 x) {
  constexpr float kTwice[] = {2.0f, 1.38627346776f, 4.8045060194e-1f, 1.11676565892e-1f, 1.9313420577e-2f};
  return exp2_by(kTwice, x);
}

// Absolute error below 1.2e-7 where |log2 x| < 1, relative error below 2e-7 elsewhere; for normal x > 0. Of x
// = 2^n m with m in [1/sqrt 2, sqrt 2), log2 m is a series in odd powers of r = (m - 1) / (m + 1): 2 / ln 2
// (r + r^3 / 3 + …).
STROBE_INLINE F32 log2(F32 x) {
  constexpr float kSeries[] = {2.885390082f, 9.617966940e-1f, 5.770780164e-1f, 4.121985831e-1f,
                               3.205988980e-1f};
  constexpr uint32_t kRootHalf = 0x3f3504f3u;
  const U32 from_root_half = bits(x) - kRootHalf;
  const F32 exponent = to_f32((I32)from_root_half >> 23);
  const F32 m = from_bits((from_root_half & 0x7fffffu) + kRootHalf);
  const F32 r = (m - 1.0f) / (m + 1.0f);
  return fma(r, polynomial(kSeries, r * r), exponent);
}

// Relative error below 4e-7. Small arguments by an odd polynomial, others as 1 - 2 / (e^2|x| + 1).
STROBE_INLINE F32 tanh(F32 x) {
  constexpr float kSmall[] = {
      1.0f,           -3.333333317e-1f, 1.333330356e-1f, -5.395925958e-2f, 2.176891865e-2f, -8.343945516e-3f,
      2.292744816e-3f};
  constexpr float kTwoLog2E = 2.885390081777927f;
  const F32 a = abs(x);
  const F32 small = x * polynomial(kSmall, x * x);
  const F32 large = 1.0f - 2.0f / (exp2(a * kTwoLog2E) + 1.0f);
  return select(a < 0.625f, small, copy_sign(large, x));
}

// erfc(a) = 2^(a p(a)) for a >= 0. Relative error below 5e-6 up to 4 (worst of all f32 in [2, 4]: 4.7e-6
// without FMA, 3.7e-6 with it: roundings of an exponent down to -26); absolute error below 1e-13 beyond, and
// 0 from 5 on.
inline constexpr float kLog2Erfc[] = {-1.627907034f,   -9.184478928e-1f, -1.482706182e-1f, 2.75863288e-2f,
                                      3.72432294e-4f,  -2.630077383e-3f, 1.113587082e-3f,  -2.7135965e-4f,
                                      4.146822286e-5f, -3.691517661e-6f, 1.462859984e-7f};
template <int kVectors>
STROBE_INLINE void erfc_of_positive_each(F32 (&a)[kVectors]) {
  F32 p[kVectors];
  polynomial(kLog2Erfc, a, p);
  for (int u = 0; u < kVectors; ++u) p[u] *= a[u];
  exp2_each(p);
  for (int u = 0; u < kVectors; ++u) a[u] = select(a[u] > 5.0f, F32{}, p[u]);
}
STROBE_INLINE F32 erfc_of_positive(F32 a) {
  F32 value[] = {a};
  erfc_of_positive_each(value);
  return value[0];
}

// Phi(-a), the normal distribution's tail, as 2^(a p(a) - 1) for a >= 0: for values that are rounded to 16
// bits next. Relative error below 8e-5 up to 7, and of a Phi(-a), as gelu has it, absolute error below 3e-7.
template <int kVectors>
STROBE_INLINE void normal_tail_for_16_bits_each(F32 (&a)[kVectors]) {
  constexpr float kLog2Tail[] = {-1.0f,           -1.151169287f,    -4.587985193e-1f, -5.344748958e-2f,
                                 8.139707027e-3f, -7.941415440e-4f, 3.491316375e-5f,  7.762544652e-7f,
                                 -1.003437036e-7f};
  F32 p[kVectors];
  polynomial(kLog2Tail, a, p);
  exp2_each(p);
  for (int u = 0; u < kVectors; ++u) a[u] = p[u];
}

// Absolute error below 2e-7.
STROBE_INLINE F32 erf(F32 x) { return copy_sign(1.0f - erfc_of_positive(abs(x)), x); }

}  // namespace strobe::cpu::STROBE_ISA
