// The loading warp: takes work and feeds the math groups by tensor copies.
#pragma once

#include "attention/sm90/layout.cuh"
#include "ptx/atomic.h"
#include "ptx/elect.h"
#include "ptx/tensor_copy.h"

namespace strobe::kernel {

// Of pages, boxes have at least eight tokens: a lane of the warp copies one.
static_assert(kBlockTokens <= 8 * kWarpLanes);

constexpr int kItemWords = sizeof(AttentionItem) / 4;
constexpr int32_t kNoPage = -1;  // outside the tensor: read as zeros

// The page of the lane's box of a block.
STROBE_DEVICE int32_t find_page(const AttentionSm90Params& params, const AttentionItem& item, int32_t block,
                                int32_t lane) {
  if (!kPaged) return 0;
  const int32_t token = block * kBlockTokens + lane * params.box_tokens;
  const bool exists = token >= 0 && token < min(item.kv_end, (block + 1) * kBlockTokens);
  return exists ? params.attention.kv_indices[item.kv_base + quotient(token, params.attention.page_size)]
                : kNoPage;
}

// `page` is the lane's; `eights` are from page to page.
template <int kDim>
STROBE_DEVICE void copy_block(const AttentionSm90Params& params, const TensorMap& map,
                              const AttentionItem& item, int32_t block, int32_t page, int32_t eights,
                              SharedAddress to, SharedAddress full, int32_t lane) {
  constexpr bool kMapsPanels = sm90_maps_panels(kType, kDim);
  const int32_t first = lane * params.box_tokens;
  if (first >= kBlockTokens) return;
  const int32_t token = block * kBlockTokens + first;
#pragma unroll
  for (int panel = 0; panel < (kMapsPanels ? 1 : sm90_panels(kType, kDim)); ++panel) {
    const int32_t column = panel * kPanelElements;
    if constexpr (kPaged) {
      const Divisor& page_size = params.attention.page_size;
      const auto slot = static_cast<int32_t>(remainder(token, quotient(token, page_size), page_size));
      constexpr int kRowBytes = (kMapsPanels ? sm90_panels(kType, kDim) : 1) * kPanelRowBytes;
      copy_box(to + panel * kBlockPanel + first * kRowBytes, map,
               {column, 0, 0, page == kNoPage ? kNoPage : page * eights + slot / 8, item.kv_head}, full,
               Keep::kLastToGo);
    } else {
      copy_box(to + panel * kBlockPanel, map, {column, item.kv_base + token, 0, item.kv_head, 0}, full,
               Keep::kLastToGo);
    }
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
  Ring<kTileInfos> info;
  bool next_exists;
  int32_t next_pack;
  uint32_t next_word;  // of the next item: the lane's

  STROBE_DEVICE void load_keys(const Tile& tile, int32_t block, int32_t page) {
    wait_for_phase(barriers.key_free(key.at), key.phase ^ 1);
    if (is_elected()) arrive_expecting(barriers.key_full(key.at), kKeyBytes);
    __syncwarp();
    copy_block<kDimQk>(params, params.k, tile.item, block, page, params.k_page_eights,
                       base + kKeysAt + key.at * kKeyBytes, barriers.key_full(key.at), lane);
    key.advance();
  }

  // A masked block's go to the watching warps first, e4m3 to those that transpose them.
  STROBE_DEVICE void load_values(const Tile& tile, int32_t block, int32_t page) {
    wait_for_phase(kFp8 ? barriers.copy_free(value.at) : barriers.value_free(value.at), value.phase ^ 1);
    const bool watched = kFp8 || tile.is_masked(block);
    const SharedAddress full = watched ? barriers.value_copied(value.at) : barriers.value_full(value.at);
    if (is_elected()) {
      arrive_expecting(full, kValueBytes);
      for (int i = 1; !watched && i < kWatchWarps; ++i) arrive(full);
    }
    __syncwarp();
    copy_block<kDimVo>(params, params.v, tile.item, block, page, params.v_page_eights,
                       base + kValuesAt + value.at * kValueBytes, full, lane);
    value.advance();
  }

  STROBE_DEVICE void load_queries(const Tile& tile) {
    constexpr int kCopies = sm90_maps_panels(kType, kDimQk) ? 1 : kQkPanels;  // of a group
    if (lane < kGroups * kCopies) {
      const int32_t group = lane / kCopies, panel = lane % kCopies;
      copy_box(base + kQueriesAt + (slot.at * kGroups + group) * kQueryBytes + panel * kQueryPanel, params.q,
               {panel * kPanelElements, 0, tile.item.q_row + (group * kGroupRows >> params.pack_log2), 0,
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

  // Takes the next piece of work, early: what it is comes while the warp waits for room.
  STROBE_DEVICE void find_next(uint32_t taken) {
    const Sm90List& list = *params.list;
    const uint32_t index = __shfl_sync(0xffffffff, taken, 0);
    next_exists = index < list.work;
    if (!next_exists) return;
    const uint32_t section = quotient(index, list.section), rest = remainder(index, section, list.section);
    const uint32_t number = quotient(rest, list.together);
    next_pack = static_cast<int32_t>(section * list.together.value + remainder(rest, number, list.together));
    const auto* words = reinterpret_cast<const uint32_t*>(params.attention.items + number);
    next_word = lane < kItemWords ? words[lane] : 0;
  }

  STROBE_DEVICE Tile describe_next() const {
    const AttentionParams& attention = params.attention;
    struct {
      uint32_t word[kItemWords];
    } words;
#pragma unroll
    for (int i = 0; i < kItemWords; ++i) words.word[i] = __shfl_sync(0xffffffff, next_word, i);
    Tile tile;
    tile.item = __builtin_bit_cast(AttentionItem, words);
    tile.pack = next_pack;
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
    const uint32_t taken = lane == 0 ? gridDim.x + add_global(&params.list->taken, 1) : 0;
    int32_t page = find_page(params, tile.item, tile.last, lane);
    int32_t next = find_page(params, tile.item, tile.last - 1, lane);
    load_keys(tile, tile.last, page);
#pragma unroll 1
    for (int32_t block = tile.last; block > tile.first; --block) {
      const int32_t after = find_page(params, tile.item, block - 2, lane);
      load_keys(tile, block - 1, next);
      load_values(tile, block, page);
      page = next;
      next = after;
    }
    find_next(taken);
    load_values(tile, tile.first, page);
  }

  STROBE_DEVICE void run() {
    find_next(blockIdx.x);
#pragma unroll 1
    while (next_exists) {
      const Tile tile = describe_next();
      announce(tile, kGroups * kQueryBytes);
      load_queries(tile);
      slot.advance();
      info.advance();
      load_tile(tile);
    }
    Tile end;
    end.last = -1;
    end.first = 0;
    announce(end, 0);
    // The block that ends last leaves the counters as it found them.
    if (lane == 0 && add_global(&params.list->ended, 1) == gridDim.x - 1) {
      set_global(&params.list->taken, 0);
      set_global(&params.list->ended, 0);
    }
  }
};

}  // namespace strobe::kernel
