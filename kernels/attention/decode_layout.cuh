// Where a warp of the decode kernel keeps its tiles of K and V.
//
// A slot of the ring is kTileRows rows of K, then the same rows of V, of one KV head. A row's 16-byte chunks
// change places within groups of up to 8, so that 8 rows at the same chunk touch all banks once.
#pragma once

#include "ptx/shared_address.h"
#include "ptx/shuffle.h"
#include "tile/dtype.h"

namespace strobe::kernel {

constexpr int kKvBytes = size_of(kKv);
constexpr bool kFp8 = kKvBytes == 1;
// What the tensor cores multiply; fp8 becomes f16, which holds all of its values.
constexpr Dtype kMma = kKv == Dtype::kBf16 ? Dtype::kBf16 : Dtype::kF16;

constexpr int kChunkBytes = 16;
constexpr int kChunkElements = kChunkBytes / kKvBytes;

STROBE_DEVICE constexpr int power_of_two_in(int n, int most) {
  int power = 1;
  while (power < most && n % (2 * power) == 0) power *= 2;
  return power;
}

template <int kDim>
struct KvRow {
  static_assert(kDim % 16 == 0, "the tensor cores take 16 elements of a row at a time");
  static constexpr int kBytes = kDim * kKvBytes;
  static constexpr int kChunks = kBytes / kChunkBytes;
  static constexpr int kTileBytes = kTileRows * kBytes;
  // Lanes that copy a row together; the others copy other rows meanwhile.
  static constexpr int kCopyLanes = power_of_two_in(kChunks, kWarpThreads);
  static constexpr int kCopyRows = kWarpThreads / kCopyLanes;
  static_assert(kTileRows % kCopyRows == 0);

  // Byte of a chunk in the tile.
  STROBE_DEVICE static uint32_t offset(int row, int chunk) {
    constexpr int kGroup = power_of_two_in(kChunks, 8);
    return row * kBytes + ((chunk ^ (row / (8 / kGroup) & (kGroup - 1))) * kChunkBytes);
  }
};

using KRow = KvRow<kDimQk>;
using VRow = KvRow<kDimVo>;

constexpr int kSlotBytes = KRow::kTileBytes + VRow::kTileBytes;
constexpr int kWarpRingBytes = kStages * kSlotBytes;

// A block's warps are kHeads KV heads times kParts interleaved shares of the tokens.
constexpr int kParts = kWarps / kHeads;
static_assert(kParts * kHeads == kWarps);

STROBE_DEVICE int lane_of_warp() { return static_cast<int>(threadIdx.x % kWarpThreads); }
STROBE_DEVICE int warp_of_block() { return static_cast<int>(threadIdx.x / kWarpThreads); }
STROBE_DEVICE int warp_head() { return warp_of_block() % kHeads; }
STROBE_DEVICE int warp_part() { return warp_of_block() / kHeads; }

}  // namespace strobe::kernel
