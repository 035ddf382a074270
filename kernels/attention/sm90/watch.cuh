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

constexpr uint32_t kExponents = kType == Dtype::kBf16 ? 0x7f807f80 : 0x7c007c00;
constexpr uint32_t kExponentUnits = kExponents & ~(kExponents << 1);  // the lowest bits of both exponents

// Bit 15 of each half: whether all bits of its exponent are set.
STROBE_DEVICE uint32_t specials_of(uint32_t pair) {
  return ((pair & kExponents) + kExponentUnits) & 0x80008000;
}

STROBE_DEVICE uint32_t without_specials(uint32_t pair) {
  const uint32_t special = specials_of(pair) >> 15;
  return pair & ~(special * 0xffff);
}

// Takes them out of the warp's third of a block's values; whether a token before `end` had any.
STROBE_DEVICE bool take_out_specials(char* values, int32_t end, int32_t warp, int32_t lane) {
  constexpr int kChunkBytes = 16, kBatch = 8, kStride = kWatchWarps * kWarpLanes * kChunkBytes;
  bool found = false;
#pragma unroll 1
  for (int32_t begin = (warp * kWarpLanes + lane) * kChunkBytes; begin < kValueBytes;
       begin += kBatch * kStride) {
    uint4 chunk[kBatch];
    uint32_t any = 0;
#pragma unroll
    for (int i = 0; i < kBatch; ++i) {
      const int32_t at = begin + i * kStride;
      chunk[i] = at < kValueBytes ? *reinterpret_cast<const uint4*>(values + at) : uint4{0, 0, 0, 0};
      any |= specials_of(chunk[i].x) | specials_of(chunk[i].y) | specials_of(chunk[i].z) |
             specials_of(chunk[i].w);
    }
    if (any == 0) continue;
#pragma unroll 1
    for (int32_t at = begin; at < min(kValueBytes, begin + kBatch * kStride); at += kStride) {
      auto* place = reinterpret_cast<uint4*>(values + at);
      const uint4 x = *place;
      if ((specials_of(x.x) | specials_of(x.y) | specials_of(x.z) | specials_of(x.w)) == 0) continue;
      *place = {without_specials(x.x), without_specials(x.y), without_specials(x.z), without_specials(x.w)};
      found = found || token_of_value(at) < end;
    }
  }
  return __any_sync(0xffffffff, found);
}

STROBE_DEVICE void watch_values(char* shared, const Barriers& barriers, int32_t warp, int32_t lane) {
  Ring<kQuerySlots> slot;
  Ring<kTileInfos> info;
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
      __syncwarp();
      if (lane == 0) arrive(barriers.value_full(stage));
    }
    __syncwarp();
    if (lane == 0) arrive(barriers.query_free(slot.at));
    if (last < 0) return;
    slot.advance();
    info.advance();
  }
}

}  // namespace strobe::kernel
