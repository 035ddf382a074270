// Cosine and sine of an angle given as a fraction of a turn.
#pragma once

#include "tile/ints.h"

namespace strobe::kernel {

// Of turns / 2^32; absolute error below 1e-7. The nearest quarter turn is split off; the rest, at most pi /
// 4, goes through near-minimax polynomials.
STROBE_DEVICE float2 cos_sin_of_turns(uint32_t turns) {
  constexpr float kRadians = 1.4629180792671596e-09f;  // 2 pi / 2^32
  const uint32_t quarter = (turns + (1u << 29)) >> 30;
  const float x = static_cast<float>(static_cast<int32_t>(turns - (quarter << 30))) * kRadians;
  const float x2 = x * x;
  float s = fmaf(-0.00019515953318f, x2, 0.0083321658894f);
  s = fmaf(s, x2, -0.16666655242f);
  s = fmaf(s, x * x2, x);
  float c = fmaf(2.4435852538e-05f, x2, -0.0013887342066f);
  c = fmaf(c, x2, 0.041666645557f);
  c = fmaf(c, x2 * x2, fmaf(x2, -0.5f, 1.0f));
  const bool odd = quarter & 1;
  const float cosine = odd ? s : c, sine = odd ? c : s;
  return {(quarter + 1) & 2 ? -cosine : cosine, quarter & 2 ? -sine : sine};
}

}  // namespace strobe::kernel
