// NaN and Inf in the V of masked blocks.
//
// A masked block may hold them in tokens that only some rows, or none, attend to (behind a request's last
// token lies whatever was there before), and 0 times them is NaN. The three warps beside the loading one take
// them out of V before the product; where an attended token had some, the math groups add them afterwards to
// the rows that attend to it.
#pragma once

#include "attention/sm90/layout.cuh"
#include "ptx/tensor_copy.h"
#include "tile/element.h"

namespace strobe::kernel {

// Takes them out of the warp's third of a block's values; whether a token before `end` had any.
STROBE_DEVICE bool take_out_specials(char* values, int32_t end, int32_t warp, int32_t lane) {
  constexpr int kChunkBytes = 16, kChunks = kValueBytes / kChunkBytes;
  constexpr uint32_t kExponent = kType == Dtype::kBf16 ? 0x7f80 : 0x7c00;
  bool found = false;
#pragma unroll 2
  for (int32_t i = warp * kWarpLanes + lane; i < kChunks; i += kWatchWarps * kWarpLanes) {
    auto* chunk = reinterpret_cast<uint4*>(values + i * kChunkBytes);
    uint4 x = *chunk;
    uint32_t* words[] = {&x.x, &x.y, &x.z, &x.w};
    bool has = false;
#pragma unroll
    for (uint32_t* word : words) {
      const bool low = (*word & kExponent) == kExponent, high = (*word >> 16 & kExponent) == kExponent;
      *word &= (low ? 0 : 0xffffu) | (high ? 0 : 0xffff0000u);
      has = has || low || high;
    }
    if (has) *chunk = x;
    found = found || (has && i * kChunkBytes % kBlockPanel / kPanelRowBytes < end);
  }
  return __any_sync(0xffffffff, found);
}

STROBE_DEVICE void watch_values(char* shared, const Barriers& barriers, int32_t warp, int32_t lane) {
  Ring<kStages> value;
  Ring<kQuerySlots> slot;
#pragma unroll 1
  for (;;) {
    wait_for_phase(barriers.query_full(slot.at), slot.phase);
    const Tile tile = *reinterpret_cast<const Tile*>(shared + kTilesAt + slot.at * kSm90TileInfoBytes);
    __syncwarp();
    if (lane == 0) arrive(barriers.query_free(slot.at));
    if (tile.last < 0) return;
    slot.advance();
#pragma unroll 1
    for (int32_t block = tile.last; block >= tile.first; --block) {
      wait_for_phase(barriers.value_full(value.at), value.phase);
      if (tile.is_masked(block)) {
        const bool found = take_out_specials(shared + kValuesAt + value.at * kValueBytes,
                                             tile.item.kv_end - block * kBlockTokens, warp, lane);
        if (lane == 0) reinterpret_cast<int32_t*>(shared + kSpecialsAt + value.at * 16)[warp] = found;
        order_before_async();
        __syncwarp();
        if (lane == 0) arrive(barriers.value_clean(value.at));
      }
      if (lane == 0) arrive(barriers.value_free(value.at));
      value.advance();
    }
  }
}

}  // namespace strobe::kernel
