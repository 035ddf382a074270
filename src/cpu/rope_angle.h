// Cosines and sines of a token's rotations.
//
// The angle of pair i at a position is position * turns[i] / 2^64 turns (rope_turns.h); the product wraps at
// whole turns by itself, so nothing is lost at large positions. Its upper 32 bits are kept: 1.5e-9 radians.
#pragma once

#include "cpu/simd.h"

namespace strobe::cpu::STROBE_ISA {

inline constexpr int kMaxRotaryPairs = 256;  // kMaxRotaryDim / 2; rounds up to whole vectors at every level

struct CosSin {
  F32 cosine, sine;
};

// Of angles in turns / 2^32; absolute error below 1e-7. The nearest quarter turn is split off; the rest, at
// most pi / 4, goes through near-minimax polynomials (Chebyshev nodes, 40-digit arithmetic; errors 8e-9 and
// 4e-10 before rounding).
STROBE_INLINE CosSin cos_sin_of_turns(U32 turns) {
  constexpr float kSine[] = {-0.16666655242f, 0.0083321658894f, -0.00019515953318f};
  constexpr float kCosine[] = {0.041666645557f, -0.0013887342066f, 2.4435852538e-05f};
  constexpr float kRadians = 1.4629180792671596e-09f;  // 2 pi / 2^32
  const U32 quarter = (turns + (1u << 29)) >> 30;
  const F32 x = to_f32((I32)(turns - (quarter << 30))) * kRadians;
  const F32 x2 = x * x;
  const F32 s = fma(x * x2, polynomial(kSine, x2), x);
  const F32 c = fma(x2 * x2, polynomial(kCosine, x2), fma(x2, splat(-0.5f), splat(1.0f)));
  const I32 odd = (I32)(quarter & 1) != 0;
  const U32 cosine_sign = ((quarter + 1) & 2) << 30, sine_sign = (quarter & 2) << 30;
  return {from_bits(bits(select(odd, s, c)) ^ cosine_sign), from_bits(bits(select(odd, c, s)) ^ sine_sign)};
}

// Cosines and sines of all pairs at a position; fills both arrays, of kMaxRotaryPairs, to a whole vector.
STROBE_INLINE void rope_cos_sin(const uint64_t* turns, int pairs, int64_t position, float* cosine,
                                float* sine) {
  alignas(64) uint32_t angle[kMaxRotaryPairs];
  const int whole = (pairs + kLanes - 1) / kLanes * kLanes;
  for (int i = 0; i < whole; ++i)
    angle[i] = static_cast<uint32_t>((turns[i] * static_cast<uint64_t>(position)) >> 32);
  for (int i = 0; i < whole; i += kLanes) {
    U32 vector;
    __builtin_memcpy(&vector, angle + i, sizeof vector);
    const CosSin value = cos_sin_of_turns(vector);
    store(cosine + i, value.cosine);
    store(sine + i, value.sine);
  }
}

}  // namespace strobe::cpu::STROBE_ISA
