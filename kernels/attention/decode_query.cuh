// The queries of an item as the right operand of S^T = K Q^T: column r of the product is row r of the item
// (query token r / group, head r % group of the KV head).
//
// In S^T lane 4 g + c holds columns 2c and 2c+1 of each kTiles block of 8; as an operand it holds column g. A
// step covers 16 elements of a head; which of them meet is the same for K and Q but otherwise free, so fp8
// keys, four of which lie in a word, go as they come.
#pragma once

#include "attention/attention_params.h"
#include "attention/decode_layout.cuh"
#include "ptx/convert.h"
#include "ptx/memory.h"

namespace strobe::kernel {

constexpr int kQuerySteps = kDimQk / 16;
// Many queries do not fit the registers beside the output; they wait in shared memory, each lane's words
// together.
constexpr int kQueryWords = kHeadTiles * kQuerySteps * 2;
constexpr bool kQueryInRegisters = kQueryWords <= 32 && !(kGeneral && kDimQk > 192);
constexpr int kWarpQueryBytes = kQueryInRegisters ? 0 : kQueryWords * kWarpThreads * 4;
// bf16 has a larger range than f16: each row is scaled by a power of 2.
constexpr bool kScaledQuery = kQuery != kMma;

struct QueryStep {
  uint32_t word[2];
};

// Bytes of a head at which the words of a step lie for lane c of a quad.
STROBE_DEVICE int query_byte(int step, int word, int c) {
  return step * 32 + (kFp8 ? c * 8 + word * 4 : c * 4 + word * 16);
}

// The power of 2 by which a row with this largest magnitude comes below 2, and its inverse.
struct RowScale {
  float down, up;
  STROBE_DEVICE explicit RowScale(float largest) {
    const uint32_t exponent = min(max(bits_of(largest) >> 23, 1u), 253u);
    down = float_of((254 - exponent) << 23);
    up = float_of(exponent << 23);
  }
};

STROBE_DEVICE float largest_of_pair(float before, uint32_t pair) {
  float first, second;
  floats_of<kQuery>(pair, first, second);
  return fmaxf(before, fmaxf(fabsf(first), fabsf(second)));
}

STROBE_DEVICE uint32_t scaled_pair(uint32_t pair, float scale) {
  float first, second;
  floats_of<kQuery>(pair, first, second);
  return pair_of<kMma>(first * scale, second * scale);
}

class Queries {
 public:
  // `shared`: kWarpQueryBytes of this warp.
  STROBE_DEVICE explicit Queries(char* shared) : shared_(shared + lane_of_warp() * 8) {}

  // Rows that the item does not have become zeros.
  STROBE_DEVICE void load_item(const AttentionParams& p, const AttentionItem& item) {
    const int g = lane_of_warp() / 4, c = lane_of_warp() % 4;
#pragma unroll
    for (int t = 0; t < kHeadTiles; ++t) {
      const uint32_t row = t * 8 + g;
      const uint32_t token = quotient(row, p.group);
      const int head = (item.kv_head + warp_head()) * p.group.value + remainder(row, token, p.group);
      const bool valid = static_cast<int>(token) < item.q_tokens;
      const char* from =
          p.q + (item.q_row + static_cast<int>(token)) * p.q_stride_token + head * p.q_stride_head;
      QueryStep steps[kQuerySteps];
#pragma unroll
      for (int step = 0; step < kQuerySteps; ++step)
#pragma unroll
        for (int i = 0; i < 2; ++i)
          steps[step].word[i] = valid ? load<4>(from + query_byte(step, i, c)).word[0] : 0;
      if constexpr (kScaledQuery) scale_row(steps, t);
#pragma unroll
      for (int step = 0; step < kQuerySteps; ++step) put(t, step, steps[step]);
    }
  }

  STROBE_DEVICE QueryStep step(int t, int step) const {
    if constexpr (kQueryInRegisters) return words_[t][step];
    return *reinterpret_cast<const QueryStep*>(shared_ + (t * kQuerySteps + step) * (8 * kWarpThreads));
  }

  // What the scores of this lane's column i of tile t have to be multiplied by.
  STROBE_DEVICE float scale(int t, int i) const { return kScaledQuery ? scale_[t][i] : 1.0f; }

 private:
  STROBE_DEVICE void put(int t, int step, const QueryStep& words) {
    if constexpr (kQueryInRegisters)
      words_[t][step] = words;
    else
      *reinterpret_cast<QueryStep*>(shared_ + (t * kQuerySteps + step) * (8 * kWarpThreads)) = words;
  }

  STROBE_DEVICE void scale_row(QueryStep (&steps)[kQuerySteps], int t) {
    float largest = 0;
#pragma unroll
    for (int step = 0; step < kQuerySteps; ++step)
      largest = largest_of_pair(largest_of_pair(largest, steps[step].word[0]), steps[step].word[1]);
#pragma unroll
    for (int distance = 1; distance < 4; distance *= 2)
      largest = fmaxf(largest, __shfl_xor_sync(0xffffffff, largest, distance));
    const RowScale scale(largest);
#pragma unroll
    for (int step = 0; step < kQuerySteps; ++step)
#pragma unroll
      for (int i = 0; i < 2; ++i) steps[step].word[i] = scaled_pair(steps[step].word[i], scale.down);
#pragma unroll
    for (int i = 0; i < 2; ++i)
      scale_[t][i] = float_of(__shfl_sync(0xffffffff, bits_of(scale.up), (lane_of_warp() % 4 * 2 + i) * 4));
  }

  QueryStep words_[kQueryInRegisters ? kHeadTiles : 1][kQuerySteps];
  char* shared_;
  float scale_[kHeadTiles][2];
};

}  // namespace strobe::kernel
