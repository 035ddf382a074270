// Where tiles, barriers and what the warps tell each other lie in shared memory. For kernels with the
// constants of prefill_sm90.cuh.
#pragma once

#include "attention/rows.h"
#include "attention/sm90/form.h"
#include "attention/sm90/prefill_sm90_params.h"
#include "ptx/mbarrier.h"
#include "ptx/wgmma.h"

namespace strobe::kernel {

constexpr bool kFp8 = kType == Dtype::kE4m3;
constexpr Sm90Form kForm = sm90_form(kType, kDimQk);
constexpr int kGroups = kForm.groups, kStages = kForm.stages, kQuerySlots = kForm.query_slots;
constexpr int kTileInfos = sm90_tile_infos(kType, kDimQk);
constexpr int kBlockTokens = kForm.block_tokens;
constexpr int kGroupThreads = 128, kWarpLanes = 32, kGroupRows = 64;
constexpr int kElementBytes = size_of(kType), kPanelElements = kPanelRowBytes / kElementBytes;
constexpr int kStepBytes = 32, kStepK = kStepBytes / kElementBytes;  // of a product along K
constexpr int kQkPanels = sm90_panels(kType, kDimQk), kVoPanels = sm90_panels(kType, kDimVo);

constexpr int kQueryPanel = kGroupRows * kPanelRowBytes, kBlockPanel = kBlockTokens * kPanelRowBytes;

// How K or V of a block lies: bytes from panel to panel, and from eight rows to the next eight. A box of
// pages brings all panels of eight rows, then the next eight; other boxes one panel after the other.
struct BlockLayout {
  int panel, eight_rows;
};
STROBE_DEVICE constexpr BlockLayout layout_of(int dim) {
  if (kPaged && sm90_maps_panels(kType, dim))
    return {kEightRowsBytes, sm90_panels(kType, dim) * kEightRowsBytes};
  return {kBlockPanel, kEightRowsBytes};
}
constexpr BlockLayout kKeyLayout = layout_of(kDimQk), kValueLayout = layout_of(kDimVo);

// The token of the block to which a byte of its values belongs.
STROBE_DEVICE int32_t token_of_value(int32_t byte) {
  constexpr int kPeriod = kBlockTokens / 8 * kValueLayout.eight_rows;
  return byte % kPeriod / kValueLayout.eight_rows * 8 + byte % kEightRowsBytes / kPanelRowBytes;
}

constexpr int kQueryBytes = kQkPanels * kQueryPanel;  // of a group
constexpr int kKeyBytes = kQkPanels * kBlockPanel, kValueBytes = kVoPanels * kBlockPanel;
// e4m3: V as the products take it, a panel for each 32 tokens with a row for each element of a value
// (transpose.cuh); and each math thread's outputs so far (KeptOutputs).
constexpr int kTransposedRowBytes = 32, kTransposedPanel = kDimVo * kTransposedRowBytes;
constexpr int kTransposedBytes = kFp8 ? kBlockTokens / kTransposedRowBytes * kTransposedPanel : 0;
constexpr int kKeptBytes = kFp8 ? kGroups * kGroupRows * kDimVo * 4 : 0;
constexpr bool kStagesResults = sm90_result_bytes(kType, kDimQk, kDimVo) > 0;
constexpr int kResultBytes = kStagesResults ? kVoPanels * kQueryPanel : 0;  // of a group

// Whether a group keeps to the blocks and masks of its own rows, not of all the tile's, and gives its queries
// back before the last softmax. In the three groups of e4m3 there are no registers left for that.
constexpr bool kKeepsToItsRows = !kFp8;

constexpr int kWatchWarps = 3;

struct BlockRange {
  int32_t begin, end;
  STROBE_DEVICE bool holds(int32_t block) const { return block >= begin && block < end; }
};

// What the math groups do next: an item for one pack of heads.
struct Tile {
  AttentionItem item;  // its kv_head is the pack's
  int32_t pack;
  int32_t last, first;            // KV blocks, in the order in which they are done; last < 0: no more tiles
  int32_t open_end, open_begin;   // blocks in [open_begin, open_end) need no mask
  int32_t specials[kWatchWarps];  // not 0: a watching warp has found NaN or Inf in the V of attended tokens

  STROBE_DEVICE bool is_masked(int32_t block) const { return block >= open_end || block < open_begin; }
};
static_assert(sizeof(Tile) <= kSm90TileInfoBytes);

// Byte offsets.
constexpr int kQueriesAt = 0;
constexpr int kKeysAt = kQueriesAt + kQuerySlots * kGroups * kQueryBytes;
constexpr int kValuesAt = kKeysAt + kStages * kKeyBytes;
constexpr int kTransposedAt = kValuesAt + kStages * kValueBytes;
constexpr int kKeptAt = kTransposedAt + kStages * kTransposedBytes;
constexpr int kResultsAt = kKeptAt + kKeptBytes;
constexpr int kTilesAt = kResultsAt + kGroups * kResultBytes;
constexpr int kBarriersAt = kTilesAt + kTileInfos * kSm90TileInfoBytes;
constexpr int kBarriers = 2 * kQuerySlots + (kFp8 ? 6 : 5) * kStages;
static_assert(kBarriersAt + kBarriers * kBarrierBytes == sm90_shared_bytes(kType, kDimQk, kDimVo));

STROBE_DEVICE Tile& tile_info(char* shared, int32_t number) {
  return *reinterpret_cast<Tile*>(shared + kTilesAt + number * kSm90TileInfoBytes);
}

// Barriers by the fact that they announce.
struct Barriers {
  SharedAddress base;
  STROBE_DEVICE SharedAddress at(int number) const { return base + kBarriersAt + number * kBarrierBytes; }
  STROBE_DEVICE SharedAddress query_full(int slot) const { return at(slot); }  // and the tile's description
  STROBE_DEVICE SharedAddress query_free(int slot) const { return at(kQuerySlots + slot); }
  STROBE_DEVICE SharedAddress key_full(int stage) const { return at(2 * kQuerySlots + stage); }
  STROBE_DEVICE SharedAddress key_free(int stage) const { return at(2 * kQuerySlots + kStages + stage); }
  STROBE_DEVICE SharedAddress value_full(int stage) const {
    return at(2 * kQuerySlots + 2 * kStages + stage);
  }
  STROBE_DEVICE SharedAddress value_free(int stage) const {
    return at(2 * kQuerySlots + 3 * kStages + stage);
  }
  // Of a masked block, whose values are full once they have been looked through, and of any e4m3, whose are
  // once they are transposed.
  STROBE_DEVICE SharedAddress value_copied(int stage) const {
    return at(2 * kQuerySlots + 4 * kStages + stage);
  }
  // e4m3: what was copied has been transposed; value_free is then that of the transposed ones.
  STROBE_DEVICE SharedAddress copy_free(int stage) const { return at(2 * kQuerySlots + 5 * kStages + stage); }
};

// One thread's; a barrier of the block follows.
STROBE_DEVICE void init_barriers(const Barriers& barriers) {
  constexpr int kMathWarps = 4 * kGroups;
  for (int slot = 0; slot < kQuerySlots; ++slot) {
    init_barrier(barriers.query_full(slot), 1);
    init_barrier(barriers.query_free(slot), kMathWarps + kWatchWarps);
  }
  for (int stage = 0; stage < kStages; ++stage) {
    init_barrier(barriers.key_full(stage), 1);
    init_barrier(barriers.key_free(stage), kMathWarps);
    init_barrier(barriers.value_full(stage), kWatchWarps);
    init_barrier(barriers.value_free(stage), kMathWarps);
    init_barrier(barriers.value_copied(stage), 1);
    if (kFp8) init_barrier(barriers.copy_free(stage), kWatchWarps);
  }
  publish_barriers();
}

// Goes round kCount buffers; `phase` is the parity to wait for before reading, the other one before writing.
template <int kCount>
struct Ring {
  int32_t at = 0;
  uint32_t phase = 0;
  STROBE_DEVICE void advance() {
    if (++at == kCount) {
      at = 0;
      phase ^= 1;
    }
  }
};

// Named barriers.
STROBE_DEVICE int results_sent(int group) { return 1 + group; }
STROBE_DEVICE int results_staged(int group) { return 1 + kGroups + group; }

}  // namespace strobe::kernel
