// The integer weights of tokens, and the order of their values: the same bits on every backend, by fused
// multiply-adds and exact steps only. src/cpu/sampling_row.h has the same on vectors.
#pragma once

#ifndef __CUDACC_RTC__
#include <math.h>
#endif

#include "sampling/weight_constants.h"
#include "tile/ints.h"

namespace strobe::kernel {

#ifdef __CUDACC_RTC__
STROBE_DEVICE uint32_t word_of(float x) { return __float_as_uint(x); }
STROBE_DEVICE float float_at(uint32_t bits) { return __uint_as_float(bits); }
STROBE_DEVICE uint64_t rounded(float x) { return __float2ull_rn(x); }
#else
STROBE_DEVICE uint32_t word_of(float x) { return __builtin_bit_cast(uint32_t, x); }
STROBE_DEVICE float float_at(uint32_t bits) { return __builtin_bit_cast(float, bits); }
STROBE_DEVICE uint64_t rounded(float x) { return static_cast<uint64_t>(nearbyintf(x)); }
#endif

STROBE_DEVICE float infinity() { return float_at(0x7f800000); }

// What the difference to the largest logit is multiplied with before 2^x; NaN for a bad temperature.
STROBE_DEVICE float factor_of(float temperature) {
  const float factor = kLog2E / temperature;
  if (!(temperature >= 0)) return float_at(0x7fc00000);
  return factor < kLargestFactor ? factor : kLargestFactor;
}

// 2^((logit - largest) * factor), 0 where that is below 2^-126.
STROBE_DEVICE float exponential(float logit, float largest, float factor) {
  constexpr float kShift = 12582912.0f;  // 1.5 * 2^23: leaves no bits for a fraction
  const float difference = logit - largest;
  const float shifted = fmaf(difference, factor, kShift);
  const float whole = shifted - kShift;
  const float f = fmaf(difference, factor, -whole);
  float power = kExp2[5];
  for (int i = 4; i >= 0; --i) power = fmaf(power, f, kExp2[i]);
  const float scale = float_at((word_of(shifted) << 23) + (127u << 23));
  return whole >= -126.0f ? power * scale : 0.0f;
}

// Of a probability or an exponential, at most 2.
STROBE_DEVICE uint64_t weight_of(float value) { return rounded(value * kUnitWeight); }

// weight_of(value) in two parts: high * 2^20 + low, the lower one signed, by additions that leave no bits for
// a fraction. What is left of value * 2^20 behind its whole part is exact, so that only the lower part is
// rounded.
struct WeightParts {
  static constexpr float kHighShift = 8388608.0f, kLowShift = 12582912.0f;  // 2^23, 1.5 * 2^23
  uint32_t high, low;

  STROBE_DEVICE explicit WeightParts(float value) {
    constexpr float kHalf = 1048576.0f;  // 2^20
    const float whole = fmaf(value, kHalf, kHighShift);
    const float rest = fmaf(value, kHalf, kHighShift - whole);
    high = word_of(whole) - kHighBits;
    low = word_of(fmaf(rest, kHalf, kLowShift)) - kLowBits;
  }
  STROBE_DEVICE uint64_t whole() const {
    return (static_cast<uint64_t>(high) << 20) +
           static_cast<uint64_t>(static_cast<int64_t>(static_cast<int32_t>(low)));
  }

 private:
  static constexpr uint32_t kHighBits = 0x4b000000, kLowBits = 0x4b400000;
};
static_assert(kUnitWeight == 0x1p40f);

// The sum of up to 1024 weights.
struct WeightSum {
  uint32_t high = 0, low = 0;
  STROBE_DEVICE void add(const WeightParts& weight) {
    high += weight.high;
    low += weight.low;
  }
  STROBE_DEVICE uint64_t total() const {
    return (static_cast<uint64_t>(high) << 20) +
           static_cast<uint64_t>(static_cast<int64_t>(static_cast<int32_t>(low)));
  }
};

// Unsigned numbers in the order of the values; -0 and 0 are one.
STROBE_DEVICE uint32_t key_of_prob(float prob) { return word_of(prob + 0.0f); }
STROBE_DEVICE uint32_t key_of_logit(float logit) {
  const uint32_t bits = word_of(logit + 0.0f);
  return bits >> 31 != 0 ? ~bits : bits | 0x80000000u;
}

STROBE_DEVICE float logit_of_key(uint32_t key) { return float_at(key >> 31 != 0 ? key & 0x7fffffffu : ~key); }

STROBE_DEVICE bool bad_prob(float prob) { return !(prob >= 0 && prob <= kLargestProbability); }
STROBE_DEVICE bool bad_logit(float logit) { return !(logit < infinity()); }

// The least weight that top_p keeps, of all.
STROBE_DEVICE uint64_t least_weight(float top_p, uint64_t all) {
  const double least = static_cast<double>(top_p) * static_cast<double>(all);
  const auto whole = static_cast<uint64_t>(least);
  const uint64_t up = whole + (static_cast<double>(whole) < least ? 1 : 0);
  return up == 0 ? 1 : up > all ? all : up;
}

}  // namespace strobe::kernel
