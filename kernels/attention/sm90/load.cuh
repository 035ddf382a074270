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

template <int kPanels>
STROBE_DEVICE void copy_block(const AttentionSm90Params& params, const TensorMap& map,
                              const AttentionItem& item, int32_t kv_head, int32_t block,
                              const BlockPages& pages, SharedAddress to, SharedAddress full, int32_t lane) {
  const bool paged = params.attention.page_size.value != 0;
#pragma unroll
  for (int i = 0; i < kLaneBoxes; ++i) {
    const int32_t first = (lane + i * kWarpLanes) * params.box_tokens, token = block * kBlockTokens + first;
    if (first >= kBlockTokens) break;
    const int32_t row =
        paged ? static_cast<int32_t>(
                    remainder(token, quotient(token, params.attention.page_size), params.attention.page_size))
              : item.kv_base + token;
#pragma unroll
    for (int panel = 0; panel < kPanels; ++panel)
      copy_box(to + panel * kBlockPanel + first * kPanelRowBytes, map, full, panel * kPanelColumns, row,
               kv_head, pages.page[i], Keep::kLastToGo);
  }
}

// What a piece of work, an index below items * packs, is.
STROBE_DEVICE Tile describe_tile(const AttentionSm90Params& params, uint32_t items, uint32_t together,
                                 uint32_t index) {
  const AttentionParams& attention = params.attention;
  const uint32_t section = index / (items * together), rest = index % (items * together);
  Tile tile;
  tile.item = attention.items[rest / together];
  tile.pack = static_cast<int32_t>(section * together + rest % together);
  const AttentionItem& item = tile.item;
  const int32_t last_position = item.position + item.q_tokens - 1;
  const TokenRange first = attended(attention, item, item.position),
                   last = attended(attention, item, last_position);
  tile.first = first.begin / kBlockTokens;
  // Where there is nothing to see, a block that is all masked.
  tile.last = max(tile.first, (last.end + kBlockTokens - 1) / kBlockTokens - 1);
  tile.open_begin = (last.begin + kBlockTokens - 1) / kBlockTokens;
  tile.open_end = first.end / kBlockTokens;
  return tile;
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

  STROBE_DEVICE void load_keys(const Tile& tile, int32_t block, const BlockPages& pages) {
    wait_for_phase(barriers.key_free(key.at), key.phase ^ 1);
    if (is_elected()) arrive_expecting(barriers.key_full(key.at), kKeyBytes);
    __syncwarp();
    copy_block<kQkPanels>(params, params.k, tile.item, tile.pack / params.packs_of_kv_head, block, pages,
                          base + kKeysAt + key.at * kKeyBytes, barriers.key_full(key.at), lane);
    key.advance();
  }

  STROBE_DEVICE void load_values(const Tile& tile, int32_t block, const BlockPages& pages) {
    wait_for_phase(barriers.value_free(value.at), value.phase ^ 1);
    if (is_elected()) arrive_expecting(barriers.value_full(value.at), kValueBytes);
    __syncwarp();
    copy_block<kVoPanels>(params, params.v, tile.item, tile.pack / params.packs_of_kv_head, block, pages,
                          base + kValuesAt + value.at * kValueBytes, barriers.value_full(value.at), lane);
    value.advance();
  }

  STROBE_DEVICE void load_queries(const Tile& tile) {
    if (lane < kGroups * kQkPanels) {
      const int32_t group = lane / kQkPanels, panel = lane % kQkPanels;
      copy_box(base + kQueriesAt + (slot.at * kGroups + group) * kQueryBytes + panel * kQueryPanel, params.q,
               barriers.query_full(slot.at), panel * kPanelColumns, 0,
               tile.item.q_row + (group * kGroupRows >> params.pack_log2), tile.pack, Keep::kFirstToGo);
    }
  }

  // Tells the others what comes in this slot.
  STROBE_DEVICE void announce(const Tile& tile, uint32_t bytes) {
    wait_for_phase(barriers.query_free(slot.at), slot.phase ^ 1);
    if (is_elected()) {
      *reinterpret_cast<Tile*>(shared + kTilesAt + slot.at * kSm90TileInfoBytes) = tile;
      arrive_expecting(barriers.query_full(slot.at), bytes);
    }
    __syncwarp();
  }

  // The blocks in the order in which they are used: K[last], then K[last - 1] V[last], …, V[first].
  STROBE_DEVICE void load_tile(const Tile& tile) {
    BlockPages pages = find_pages(params, tile.item, tile.last, lane);
    BlockPages next = find_pages(params, tile.item, tile.last - 1, lane);
    load_keys(tile, tile.last, pages);
#pragma unroll 1
    for (int32_t block = tile.last; block > tile.first; --block) {
      const BlockPages after = find_pages(params, tile.item, block - 2, lane);
      load_keys(tile, block - 1, next);
      load_values(tile, block, pages);
      pages = next;
      next = after;
    }
    load_values(tile, tile.first, pages);
  }

  STROBE_DEVICE void run() {
    const auto items = static_cast<uint32_t>(params.list->items), work = items * params.packs;
    const auto together = static_cast<uint32_t>(params.list->packs_together);
    uint32_t index = blockIdx.x;
#pragma unroll 1
    while (index < work) {
      const Tile tile = describe_tile(params, items, together, index);
      announce(tile, kGroups * kQueryBytes);
      load_queries(tile);
      slot.advance();
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
