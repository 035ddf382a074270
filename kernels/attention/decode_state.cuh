// What a warp keeps of the rows it attends for.
#pragma once

#include "attention/decode_scores.cuh"

namespace strobe::kernel {

constexpr int kOutputSteps = kDimVo / 16;
// Weights are 2^(x - reference). The largest logit of the tile at which the reference followed gets 2^kTop,
// and the reference follows again before a weight would pass 2^kMost. bf16 weights keep their precision
// everywhere; f16 ones have more room above 1 than below.
constexpr float kTop = kMma == Dtype::kF16 ? 7.0f : 0.0f;
constexpr float kMost = kTop + 8;
// Of a row that has seen no logit yet: low, but not so low that differences overflow.
constexpr float kNoReference = -1e30f;

struct RowState {
  float o[kHeadTiles][kOutputSteps]
         [4];                      // element i: column i % 2, output element output_element(step, g, i / 2)
  float reference[kHeadTiles][2];  // the same in all lanes with equal c
  float sum[kHeadTiles][2];        // this lane's share of the weights' sum

  STROBE_DEVICE void clear() {
#pragma unroll
    for (int t = 0; t < kHeadTiles; ++t) {
      reference[t][0] = reference[t][1] = kNoReference;
      sum[t][0] = sum[t][1] = 0;
#pragma unroll
      for (int step = 0; step < kOutputSteps; ++step)
#pragma unroll
        for (int i = 0; i < 4; ++i) o[t][step][i] = 0;
    }
  }
};

// Which element of the head row g + 8 half of a step's tile of O^T is: two fp8 of a token lie in one 16-bit
// element of what the matrix loads transpose, so that neighbours in V come to lie 8 rows apart.
STROBE_DEVICE int output_element(int step, int g, int half) {
  return step * 16 + (kFp8 ? 2 * g + half : g + 8 * half);
}

}  // namespace strobe::kernel
