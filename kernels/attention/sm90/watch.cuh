// NaN and Inf in the V of masked blocks.
//
// A masked block may hold them in tokens that only some rows, or none, attend to (behind a request's last
// token lies whatever was there before), and 0 times them is NaN. The three warps beside the loading one take
// them out of V before the product; where an attended token had some, the math groups add them afterwards to
// the rows that attend to it.
#pragma once

#include "attention/sm90/layout.cuh"
#include "ptx/named_barrier.h"
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
  Ring<kQuerySlots> slot;
  Ring<kSm90TileInfos> info;
  int32_t stage = 0;
  uint32_t phases = 0;  // bit s: the parity to wait for at value_copied(s)
#pragma unroll 1
  for (;;) {
    wait_for_phase(barriers.query_full(slot.at), slot.phase);
    Tile& tile = tile_info(shared, info.at);
    const int32_t last = tile.last, first = tile.first, end = tile.item.kv_end;
    const int32_t open_begin = tile.open_begin, open_end = tile.open_end;
    bool found = false;
#pragma unroll 1
    for (int32_t block = last; block >= first; --block, stage = stage + 1 == kStages ? 0 : stage + 1) {
      if (block < open_end && block >= open_begin) continue;
      wait_for_phase(barriers.value_copied(stage), phases >> stage & 1);
      phases ^= 1u << stage;
      if (take_out_specials(shared + kValuesAt + stage * kValueBytes, end - block * kBlockTokens, warp,
                            lane) &&
          !found) {
        found = true;
        if (lane == 0) tile.specials[warp] = 1;
      }
      order_before_async();
      sync_threads(kValuesWatched, kWatchWarps * kWarpLanes);
      if (warp == 0 && lane == 0) arrive(barriers.value_full(stage));
    }
    __syncwarp();
    if (lane == 0) arrive(barriers.query_free(slot.at));
    if (last < 0) return;
    slot.advance();
    info.advance();
  }
}

}  // namespace strobe::kernel
