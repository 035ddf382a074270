// NaN and Inf in the V of a tile that is masked. For kernels with the constants of prefill_block.h.
//
// A masked tile may hold them in tokens that only some rows, or none, attend to, and 0 times them is NaN.
// They are taken out of V before the product, and added to the rows that attend to them after it.
#pragma once

#include "attention/prefill_tile.h"
#include "ptx/finite.h"
#include "ptx/thread.h"

namespace strobe::kernel {

// Whether there are any among the chunks of the V tile at `v` that the thread itself has brought there.
STROBE_DEVICE bool has_own_specials(const char* v) {
  constexpr int kRowChunks = kTileVo / kChunkDims, kPassRows = kThreads / kPanelChunks;
  const int32_t row = static_cast<int32_t>(threadIdx.x) / kPanelChunks;
  const int32_t chunk = static_cast<int32_t>(threadIdx.x) % kPanelChunks;
  const char* own = v + row * tile_row_bytes(kTileVo) + chunk * kChunkBytes;
  uint32_t sum = 0;
#pragma unroll
  for (int i = 0; i < kTileTokens / kPassRows; ++i)
#pragma unroll
    for (int panel = 0; panel < kRowChunks / kPanelChunks; ++panel) {
      const auto& words = *reinterpret_cast<const ChunkWords*>(
          own + i * (kPassRows * tile_row_bytes(kTileVo)) + panel * (kPanelChunks * kChunkBytes));
#pragma unroll
      for (const uint32_t word : words.word) sum = add_zero_times<kType>(word, sum);
    }
  return sum != 0;
}

// Takes them out of the V tile at `v` and notes their tokens, perhaps with neighbours. All threads of the
// block call it.
STROBE_DEVICE void take_out_specials(char* v, int32_t* special) {
  constexpr int kRowChunks = kTileVo / kChunkDims, kChunks = kTileTokens * kRowChunks;
  static_assert(kChunks % kThreads == 0 && kRowChunks <= kWarpThreads, "a row lies within a warp");
  constexpr uint32_t kExponent = kType == Dtype::kBf16 ? 0x7f80 : 0x7c00;
  if (threadIdx.x < kTileTokens) special[threadIdx.x] = 0;
  __syncthreads();
#pragma unroll 1
  for (int32_t index = static_cast<int32_t>(threadIdx.x); index < kChunks; index += kThreads) {
    const int32_t row = index / kRowChunks;
    auto* words =
        reinterpret_cast<uint32_t*>(v + row * tile_row_bytes(kTileVo) + index % kRowChunks * kChunkBytes);
    bool found = false;
#pragma unroll
    for (int w = 0; w < kChunkBytes / 4; ++w) {
      const uint32_t word = words[w];
      const bool low = (word & kExponent) == kExponent, high = (word >> 16 & kExponent) == kExponent;
      if (low || high) words[w] = word & ((low ? 0 : 0xffffu) | (high ? 0 : 0xffff0000u));
      found = found || low || high;
    }
    if (__any_sync(0xffffffff, found) && index % kRowChunks == 0) special[row] = 1;
  }
  __syncthreads();
}

STROBE_DEVICE float load_value(const AttentionParams& params, const char* from) {
  if constexpr (!kFp8) return load_float<kType>(from);
  return static_cast<Dtype>(params.kv_dtype) == Dtype::kE4m3 ? load_float<Dtype::kE4m3>(from)
                                                             : load_float<Dtype::kE5m2>(from);
}

STROBE_DEVICE void add_special(const AttentionParams& params, const Shared& shared, int32_t number, int32_t i,
                               Outputs& out) {
  const int32_t token = shared.ranges.block.begin + number * kTileTokens + i;
  const char* from = params.v + kv_head_of_block() * params.v_stride_head +
                     first_dim_of_block() * kCacheBytes +
                     kv_offset(params, shared.item, token, params.v_stride_page, params.v_stride_token);
  const int32_t thread = thread_read_anew();
  const int32_t place = thread / kWarpThreads * (16 * kRowTiles) + thread % kWarpThreads / 4;
  bool sees[kRowTiles][2];
#pragma unroll
  for (int t = 0; t < kRowTiles; ++t)
#pragma unroll
    for (int half = 0; half < 2; ++half)
      sees[t][half] = shared.visible[i / 32][place + t * 16 + half * 8] >> i % 32 & 1;
#pragma unroll
  for (int d = 0; d < kVoGroups; ++d)
#pragma unroll
    for (int j = 0; j < 2; ++j) {
      const int32_t column = d * 8 + lane_of_thread() % 4 * 2 + j;
      const float x = column < dims_of_block(params) ? load_value(params, from + column * kCacheBytes) : 0;
      const float added = fabsf(x) < __int_as_float(0x7f800000) ? 0 : x;
#pragma unroll
      for (int t = 0; t < kRowTiles; ++t)
#pragma unroll
        for (int half = 0; half < 2; ++half)
          if (sees[t][half]) out[t][d][half * 2 + j] += added;
    }
}

// Those of tile `number`, to the rows that attend to their tokens.
STROBE_DEVICE void add_specials(const AttentionParams& params, const Shared& shared, int32_t number,
                                Outputs& out) {
#pragma unroll 1
  for (int32_t i = 0; i < kTileTokens; ++i)
    if (shared.special[i] != 0) add_special(params, shared, number, i, out);
}

}  // namespace strobe::kernel
