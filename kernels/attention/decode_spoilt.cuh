// Rows of V that hold NaN or infinity and that a mask hides from some query rows: 0 times them is NaN, so
// that a product of matrices would show them to all. They are rare, and only tiles with a mask are looked at.
#pragma once

#include "attention/decode_values.cuh"

namespace strobe::kernel {

// Whether one of the elements in a word is NaN or infinite.
STROBE_DEVICE bool is_spoilt(uint32_t word) {
  constexpr uint32_t kExponent = kKv == Dtype::kBf16   ? 0x7f807f80
                                 : kKv == Dtype::kF16  ? 0x7c007c00
                                 : kKv == Dtype::kE4m3 ? 0x7f7f7f7f  // NaN has the mantissa full, too
                                                       : 0x7c7c7c7c;
  constexpr uint32_t kLowest = kExponent & ~(kExponent << 1);  // of each element: carries out of a full one
  constexpr uint32_t kOut = kFp8 ? 0x80808080 : 0x80008000;
  return (((word & kExponent) + kLowest) & kOut) != 0;
}

STROBE_DEVICE bool is_spoilt(const char* chunk) {
  bool spoilt = false;
#pragma unroll
  for (int i = 0; i < kChunkBytes / 4; ++i) spoilt |= is_spoilt(reinterpret_cast<const uint32_t*>(chunk)[i]);
  return spoilt;
}

// The weight of a token of 16 for column i of this lane.
STROBE_DEVICE float weight_at(const float (&w)[4], int i, int token) {
  const int lane = token % 8 * 4 + thread_read_anew() % 4;
  // Exchanged before it is chosen: what is chosen by a number leaves the registers.
  const uint32_t low = __shfl_sync(0xffffffff, bits_of(w[i]), lane),
                 high = __shfl_sync(0xffffffff, bits_of(w[i + 2]), lane);
  return float_of(token < 8 ? low : high);
}

// Adds what row `token` of 16 rows of V gives to the query rows that attend to it, whose weight is not 0.
STROBE_DEVICE void add_row(RowState& state, const float (&w)[kHeadTiles][4],
                           const uint32_t (&weights)[kHeadTiles][2], SharedAddress tile, int first_row,
                           int token) {
  const int c = thread_read_anew() % 4;
  const uint32_t own = (token % 8 == 2 * c ? 0x0000ffff : 0) | (token % 8 == 2 * c + 1 ? 0xffff0000 : 0);
  const uint32_t low = token < 8 ? own : 0, high = token < 8 ? 0 : own;
  bool attends[kHeadTiles][2];
#pragma unroll
  for (int t = 0; t < kHeadTiles; ++t)
#pragma unroll
    for (int i = 0; i < 2; ++i) attends[t][i] = weight_at(w[t], i, token) != 0;
#pragma unroll
  for (int step = 0; step < kOutputSteps; step += kValueSteps) {
    __syncwarp();  // keeps the loads of later steps behind: registers would not hold them beside the output
    uint32_t values[kValueSteps][4];
    load_values(values, tile, first_row, step);
#pragma unroll
    for (int sub = 0; sub < kValueSteps && step + sub < kOutputSteps; ++sub) {
      const uint32_t only[4] = {values[sub][0] & low, values[sub][1] & low, values[sub][2] & high,
                                values[sub][3] & high};
#pragma unroll
      for (int t = 0; t < kHeadTiles; ++t) {
        float more[4] = {};
        mma_16x8x16<kMma>(more, only, weights[t][0], weights[t][1]);
#pragma unroll
        for (int i = 0; i < 4; ++i) state.o[t][step + sub][i] += attends[t][i % 2] ? more[i] : 0;
      }
    }
  }
}

// Adds the spoilt ones of 16 rows of V apart from the others, then makes zeros of them.
STROBE_DEVICE void add_spoilt_rows(RowState& state, const float (&w)[kHeadTiles][4],
                                   const uint32_t (&weights)[kHeadTiles][2], char* tile, int first_row) {
  const int lane = thread_read_anew() % kWarpThreads;
  bool spoilt = false;
#pragma unroll 1
  for (int byte = lane * kChunkBytes; byte < 16 * VRow::kBytes; byte += kWarpThreads * kChunkBytes)
    spoilt |= is_spoilt(tile + first_row * VRow::kBytes + byte);
  if (!__any_sync(0xffffffff, spoilt)) return;
#pragma unroll 1
  for (int token = 0; token < 16; ++token) {
    bool mine = false;
#pragma unroll 1
    for (int chunk = lane; chunk < VRow::kChunks; chunk += kWarpThreads)
      mine |= is_spoilt(tile + VRow::offset(first_row + token, chunk));
    if (!__any_sync(0xffffffff, mine)) continue;
    add_row(state, w, weights, shared_address(tile), first_row, token);
    __syncwarp();
#pragma unroll 1
    for (int chunk = lane; chunk < VRow::kChunks; chunk += kWarpThreads)
#pragma unroll
      for (int i = 0; i < kChunkBytes / 4; ++i)
        reinterpret_cast<uint32_t*>(tile + VRow::offset(first_row + token, chunk))[i] = 0;
    __syncwarp();
  }
}

}  // namespace strobe::kernel
