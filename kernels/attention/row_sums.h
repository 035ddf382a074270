// Sums of the weights of a warp's rows, while they grow from tile to tile.
#pragma once

#include "ptx/mma.h"
#include "ptx/shuffle.h"

namespace strobe::kernel {

// In f32, each lane its share: what a log-sum-exp asks for. Row g + 8 half of tile t is [t][half].
template <Dtype kType, int kRowTiles, bool kExact>
class RowSums {
 public:
  STROBE_DEVICE void clear() {
#pragma unroll
    for (int t = 0; t < kRowTiles; ++t) sums_[t][0] = sums_[t][1] = 0;
  }
  STROBE_DEVICE void scale(int t, int half, float factor) { sums_[t][half] *= factor; }
  // A lane's weights of the row, before they are rounded.
  STROBE_DEVICE void add(int t, int half, float weights) { sums_[t][half] += weights; }
  // The rows' weights of 16 tokens, as they meet V.
  STROBE_DEVICE void add_rounded(int, const uint32_t (&)[4]) {}
  STROBE_DEVICE float of_row(int t, int half) const {
    float x = sums_[t][half];
    x += __shfl_xor_sync(0xffffffff, x, 1);
    return x + __shfl_xor_sync(0xffffffff, x, 2);
  }

 private:
  float sums_[kRowTiles][2];
};

// Of the rounded weights, by a product with ones: a sixteenth of the instructions, and a normalised output is
// none the worse. Elements 0 and 2 of a tile's accumulator are the rows g and g + 8.
template <Dtype kType, int kRowTiles>
class RowSums<kType, kRowTiles, false> {
 public:
  STROBE_DEVICE void clear() {
#pragma unroll
    for (int t = 0; t < kRowTiles; ++t) sums_[t][0] = sums_[t][1] = sums_[t][2] = sums_[t][3] = 0;
  }
  STROBE_DEVICE void scale(int t, int half, float factor) {
    sums_[t][half * 2] *= factor;
    sums_[t][half * 2 + 1] *= factor;
  }
  STROBE_DEVICE void add(int, int, float) {}
  STROBE_DEVICE void add_rounded(int t, const uint32_t (&weights)[4]) {
    constexpr uint32_t kOnes = kType == Dtype::kBf16 ? 0x3f803f80 : 0x3c003c00;
    mma_16x8x16<kType>(sums_[t], weights, kOnes, kOnes);
  }
  STROBE_DEVICE float of_row(int t, int half) const { return sums_[t][half * 2]; }

 private:
  float sums_[kRowTiles][4];
};

}  // namespace strobe::kernel
