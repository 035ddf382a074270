// The softmax of a warpgroup's scores, in registers. For kernels with the constants of prefill_sm90.cuh.
//
// Thread 32 w + 4 g + c holds rows 16 w + g and 16 w + g + 8, which it shares with three neighbours: s[4 j +
// 2 h + i] is the score of row half h and token 8 j + 2 c + i of the block.
#pragma once

#include "attention/sm90/layout.cuh"
#include "ptx/convert.h"
#include "ptx/exponent.h"

namespace strobe::kernel {

constexpr int kScores = kBlockTokens / 2, kOutputs = kDimVo / 2;
constexpr int kWeightSteps = kBlockTokens / kStepK;
// A row's maximum follows when it is 2^kSlack too small: 16-bit floats keep their precision there. In e4m3,
// whose normal numbers go from 2^-6 to 448, weights are 2^kLift times as large: the largest of a row lies in
// [2^6, 2^8], and 2^-12 of it at least is still normal.
constexpr float kSlack = kFp8 ? 2.0f : 8.0f, kLift = kFp8 ? 6.0f : 0.0f;

using Scores = float[kScores];
using Outputs = float[kOutputs];
using Weights = uint32_t[kWeightSteps][4];

struct RowStates {
  float maximum[2];  // of the raw scores, so far
  float sum[2];      // this thread's share of the sum of weights
};

// Scores of tokens, counted from the thread's own first one in the block, that its rows do not see.
STROBE_DEVICE void mask_after(Scores& s, const int32_t (&last)[2]) {
#pragma unroll
  for (int i = 0; i < kScores; ++i)
    if (8 * (i / 4) + (i & 1) > last[i >> 1 & 1]) s[i] = minus_infinity();
}
STROBE_DEVICE void mask_before(Scores& s, const int32_t (&first)[2]) {
#pragma unroll
  for (int i = 0; i < kScores; ++i)
    if (8 * (i / 4) + (i & 1) < first[i >> 1 & 1]) s[i] = minus_infinity();
}

STROBE_DEVICE float maximum_of_row(const Scores& s, int half) {
  float most = fmaxf(s[2 * half], s[2 * half + 1]);
#pragma unroll
  for (int i = 4 + 2 * half; i < kScores; i += 4) most = fmaxf(most, fmaxf(s[i], s[i + 1]));
  most = fmaxf(most, __shfl_xor_sync(0xffffffff, most, 1));
  return fmaxf(most, __shfl_xor_sync(0xffffffff, most, 2));
}

STROBE_DEVICE float sum_of_row(float x) {
  x += __shfl_xor_sync(0xffffffff, x, 1);
  return x + __shfl_xor_sync(0xffffffff, x, 2);
}

// Scores become weights, 2^(scale (s - maximum) + kLift); what was summed up before is to be multiplied with
// `rescale`, which is exactly 1 while the maximum stays.
template <bool kFirst, bool kMasked>
STROBE_DEVICE void weigh(Scores& s, RowStates& state, float (&rescale)[2], const float (&scale)[2]) {
  float shift[2], sum[2];
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    float most = maximum_of_row(s, half);
    if (!kFirst) most = (most - state.maximum[half]) * scale[half] <= kSlack ? state.maximum[half] : most;
    // Nothing seen yet: -inf must not come into the exponent as -inf - -inf.
    const float base = kMasked && most == minus_infinity() ? 0.0f : most;
    rescale[half] = kFirst ? 1.0f : exp2_approx((state.maximum[half] - base) * scale[half]);
    state.maximum[half] = most;
    shift[half] = base * scale[half] - kLift;
  }
#pragma unroll
  for (int i = 0; i < kScores; i += 2) {
    const int half = i >> 1 & 1;
    s[i] = exp2_approx(s[i] * scale[half] - shift[half]);
    s[i + 1] = exp2_approx(s[i + 1] * scale[half] - shift[half]);
    const float pair = s[i] + s[i + 1];
    sum[half] = i < 4 ? pair : sum[half] + pair;
  }
#pragma unroll
  for (int half = 0; half < 2; ++half)
    state.sum[half] = kFirst ? sum[half] : state.sum[half] * rescale[half] + sum[half];
}

// The layout of sums, packed to pairs, is that of an operand in registers: no thread exchanges anything. For
// e4m3 it is that of the tokens in the order of transpose.cuh.
STROBE_DEVICE void pack_weights(Weights& weights, const Scores& s) {
#pragma unroll
  for (int step = 0; step < kWeightSteps; ++step)
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      if constexpr (kFp8) {
        const int at = 16 * step + 8 * (i / 2) + 2 * (i % 2);
        weights[step][i] = four_of_e4m3(s[at], s[at + 1], s[at + 4], s[at + 5]);
      } else {
        weights[step][i] = pair_of<kType>(s[8 * step + 2 * i], s[8 * step + 2 * i + 1]);
      }
    }
}

STROBE_DEVICE void rescale_rows(Outputs& out, const float (&factor)[2]) {
#pragma unroll
  for (int i = 0; i < kOutputs; ++i) out[i] *= factor[i >> 1 & 1];
}

}  // namespace strobe::kernel
