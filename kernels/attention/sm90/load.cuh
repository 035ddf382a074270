// The loading warp: takes work and feeds the math groups by tensor copies.
#pragma once

#include "attention/sm90/layout.cuh"
#include "ptx/atomic.h"
#include "ptx/elect.h"
#include "ptx/tensor_copy.h"

namespace strobe::kernel {

constexpr int kLaneBoxes = (kBlockTokens + kWarpLanes - 1) / kWarpLanes;

// Pages of the boxes of a block that a lane copies: boxes lane, lane + 32, …
struct BlockPages {
  int32_t page[kLaneBoxes];
};

constexpr int32_t kNoPage = -1;  // outside the tensor: read as zeros

STROBE_DEVICE BlockPages find_pages(const AttentionSm90Params& params, const AttentionItem& item,
                                    int32_t block, int32_t lane) {
  BlockPages pages;
#pragma unroll
  for (int i = 0; i < kLaneBoxes; ++i) {
    const int32_t token = block * kBlockTokens + (lane + i * kWarpLanes) * params.box_tokens;
    pages.page[i] = 0;
    if (params.attention.page_size.value == 0) continue;
    const bool exists = token >= 0 && token < min(item.kv_end, (block + 1) * kBlockTokens);
    pages.page[i] =
        exists ? params.attention.kv_indices[item.kv_base + quotient(token, params.attention.page_size)]
               : kNoPage;
  }
  return pages;
}

template <int kDim>
STROBE_DEVICE void copy_block(const AttentionSm90Params& params, const TensorMap& map,
                              const AttentionItem& item, int32_t block, const BlockPages& pages,
                              SharedAddress to, SharedAddress full, int32_t lane) {
  constexpr bool kTogether = sm90_copies_panels_together(kDim);
  const Divisor& page_size = params.attention.page_size;
#pragma unroll
  for (int i = 0; i < kLaneBoxes; ++i) {
    const int32_t first = (lane + i * kWarpLanes) * params.box_tokens, token = block * kBlockTokens + first;
    if (first >= kBlockTokens) break;
    const int32_t row = page_size.value == 0
                            ? item.kv_base + token
                            : static_cast<int32_t>(remainder(token, quotient(token, page_size), page_size));
#pragma unroll
    for (int panel = 0; panel < (kTogether ? 1 : sm90_panels(kDim)); ++panel)
      copy_box(to + panel * kBlockPanel + first * kPanelRowBytes, map,
               {panel * kPanelColumns, row, 0, item.kv_head, pages.page[i]}, full, Keep::kLastToGo);
  }
}

// A lane's part in the loading warp.
struct Loader {
  const AttentionSm90Params& params;
  char* shared;
  SharedAddress base;
  Barriers barriers;
  int32_t lane;
  Ring<kStages> key, value;
  Ring<kQuerySlots> slot;
  Ring<kSm90TileInfos> info;

  STROBE_DEVICE void load_keys(const Tile& tile, int32_t block, const BlockPages& pages) {
    wait_for_phase(barriers.key_free(key.at), key.phase ^ 1);
    if (is_elected()) arrive_expecting(barriers.key_full(key.at), kKeyBytes);
    __syncwarp();
    copy_block<kDimQk>(params, params.k, tile.item, block, pages, base + kKeysAt + key.at * kKeyBytes,
                       barriers.key_full(key.at), lane);
    key.advance();
  }

  // A masked block's go to the watching warps first.
  STROBE_DEVICE void load_values(const Tile& tile, int32_t block, const BlockPages& pages) {
    wait_for_phase(barriers.value_free(value.at), value.phase ^ 1);
    const SharedAddress full =
        tile.is_masked(block) ? barriers.value_copied(value.at) : barriers.value_full(value.at);
    if (is_elected()) arrive_expecting(full, kValueBytes);
    __syncwarp();
    copy_block<kDimVo>(params, params.v, tile.item, block, pages, base + kValuesAt + value.at * kValueBytes,
                       full, lane);
    value.advance();
  }

  STROBE_DEVICE void load_queries(const Tile& tile) {
    constexpr bool kTogether = sm90_copies_panels_together(kDimQk);
    constexpr int kCopies = kTogether ? 1 : kQkPanels;  // of a group
    if (lane < kGroups * kCopies) {
      const int32_t group = lane / kCopies, panel = lane % kCopies;
      copy_box(base + kQueriesAt + (slot.at * kGroups + group) * kQueryBytes + panel * kQueryPanel, params.q,
               {panel * kPanelColumns, 0, tile.item.q_row + (group * kGroupRows >> params.pack_log2), 0,
                tile.pack},
               barriers.query_full(slot.at), Keep::kFirstToGo);
    }
  }

  // Tells the others what comes next; a slot is free when the tile is done whose description lay here, too.
  STROBE_DEVICE void announce(const Tile& tile, uint32_t bytes) {
    wait_for_phase(barriers.query_free(slot.at), slot.phase ^ 1);
    if (is_elected()) {
      tile_info(shared, info.at) = tile;
      arrive_expecting(barriers.query_full(slot.at), bytes);
    }
    __syncwarp();
  }

  // A piece of work, an index below list.work.
  STROBE_DEVICE Tile describe_tile(uint32_t index) const {
    const AttentionParams& attention = params.attention;
    const uint32_t section = quotient(index, params.list->section),
                   rest = remainder(index, section, params.list->section);
    const uint32_t number = quotient(rest, params.list->together);
    Tile tile;
    tile.item = attention.items[number];
    tile.pack = static_cast<int32_t>(section * params.list->together.value +
                                     remainder(rest, number, params.list->together));
    tile.item.kv_head = tile.pack / params.packs_of_kv_head;
    const AttentionItem& item = tile.item;
    const TokenRange first = attended(attention, item, item.position),
                     last = attended(attention, item, item.position + item.q_tokens - 1);
    tile.first = first.begin / kBlockTokens;
    // Where there is nothing to see, a block that is all masked.
    tile.last = max(tile.first, (last.end + kBlockTokens - 1) / kBlockTokens - 1);
    tile.open_begin = (last.begin + kBlockTokens - 1) / kBlockTokens;
    tile.open_end = first.end / kBlockTokens;
    for (int32_t& found : tile.specials) found = 0;
    return tile;
  }

  // The blocks in the order in which they are used: K[last], then K[last - 1] V[last], …, V[first].
  STROBE_DEVICE void load_tile(const Tile& tile) {
    BlockPages pages = find_pages(params, tile.item, tile.last, lane);
    load_keys(tile, tile.last, pages);
#pragma unroll 1
    for (int32_t block = tile.last; block > tile.first; --block) {
      // Page numbers come while the warp waits for room.
      const BlockPages next = find_pages(params, tile.item, block - 1, lane);
      load_keys(tile, block - 1, next);
      load_values(tile, block, pages);
      pages = next;
    }
    load_values(tile, tile.first, pages);
  }

  STROBE_DEVICE void run() {
    const uint32_t work = params.list->work;
    uint32_t index = blockIdx.x;
#pragma unroll 1
    while (index < work) {
      const Tile tile = describe_tile(index);
      announce(tile, kGroups * kQueryBytes);
      load_queries(tile);
      slot.advance();
      info.advance();
      if (lane == 0) index = gridDim.x + add_global(&params.list->taken, 1);
      load_tile(tile);
      index = __shfl_sync(0xffffffff, index, 0);
    }
    Tile end;
    end.last = -1;
    announce(end, 0);
    // The block that ends last leaves the counters as it found them.
    if (lane == 0 && add_global(&params.list->ended, 1) == gridDim.x - 1) {
      set_global(&params.list->taken, 0);
      set_global(&params.list->ended, 0);
    }
  }
};

}  // namespace strobe::kernel
