// The path for many rows: each KV tile is packed once and multiplied by all rows of the item.
#pragma once

#include "cpu/attention/pack.h"
#include "cpu/attention/rope.h"
#include "cpu/attention/softmax.h"
#include "cpu/attention/tile_gemm.h"

namespace strobe::cpu::STROBE_ISA {

// The rows of one register tile and what they attend to in the KV tile. `columns` is rounded outwards to
// kLanes for the scores; `end` is exact, for the sum over V.
struct RowBlock {
  int row, rows;
  Columns columns;
  int end;
};

// Words of a panel of packed K and V.
STROBE_INLINE int k_panel_words(const Item& it) { return it.q_stride * kTileColumns; }
template <class Engine>
STROBE_INLINE int v_panel_words() {
  return kTiledTokens / Engine::kPerWord * kTileColumns;
}

// Rows are in token order, so the first one's `lo` and the last one's `hi` bound the block.
STROBE_INLINE RowBlock make_block(const Item& it, int row, int rows, int tile, int count) {
  const int begin = larger(it.scratch.lo[row] - tile, 0);
  const int end = smaller(it.scratch.hi[row + rows - 1] - tile, count);
  if (end <= begin) return {row, rows, {0, 0}, 0};
  return {row, rows, {round_down(begin, kLanes), round_up(end, kLanes)}, end};
}

// One KV tile (packed, `count` tokens from token `tile`) for rows [first, first + rows) of the item, rows <=
// kGroupRows.
template <class Engine>
static void process_group(const Item& it, int first, int rows, int tile, int count) {
  constexpr int kPerWord = Engine::kPerWord, kPStride = kTiledTokens / kPerWord;
  const Scratch& scratch = it.scratch;
  RowBlock blocks[kGroupRows / kTileRows];
  Columns columns[kGroupRows];
  int block_count = 0, widest = 0;
  for (int r = 0; r < rows; r += kTileRows, ++block_count) {
    const RowBlock block = make_block(it, first + r, smaller(kTileRows, rows - r), tile, count);
    for (int i = 0; i < block.rows; ++i) columns[r + i] = block.columns;
    blocks[block_count] = block;
    widest = larger(widest, block.columns.end);
  }
  if (widest == 0) return;

  // A panel of K, then of V, stays in the first-level cache while the group's rows pass over it.
  for (int panel = 0; panel < widest; panel += kTileColumns) {
    const uint32_t* k = scratch.k + panel / kTileColumns * k_panel_words(it);
    for (int b = 0; b < block_count; ++b) {
      const RowBlock& block = blocks[b];
      const int begin = larger(panel, block.columns.begin);
      const int end = smaller(panel + kTileColumns, block.columns.end);
      if (end <= begin) continue;
      const TileOperands operands = {.a = scratch.q + block.row * it.q_stride,
                                     .a_stride = it.q_stride,
                                     .b = k + (begin - panel),
                                     .c = scratch.s + (block.row - first) * kTiledTokens + begin,
                                     .c_stride = kTiledTokens,
                                     .k_begin = 0,
                                     .k_end = it.problem->head_dim_qk / kPerWord};
      multiply<Engine>(operands, ScaleResult{it.scale}, block.rows, (end - begin) / kLanes);
    }
  }
  for (int r = 0; r < rows; r += kLanes)
    softmax_rows<Engine>(it, first + r, smaller(kLanes, rows - r), tile, columns + r,
                         scratch.s + r * kTiledTokens, scratch.p + r * kPStride);
  for (int panel = 0; panel < it.o_stride; panel += kTileColumns) {
    const int vectors = smaller(kTileColumns, it.o_stride - panel) / kLanes;
    for (int b = 0; b < block_count; ++b) {
      const RowBlock& block = blocks[b];
      if (block.end == 0) continue;
      const TileOperands operands = {.a = scratch.p + (block.row - first) * kPStride,
                                     .a_stride = kPStride,
                                     .b = scratch.v + panel / kTileColumns * v_panel_words<Engine>(),
                                     .c = scratch.o + block.row * it.o_stride + panel,
                                     .c_stride = it.o_stride,
                                     .k_begin = block.columns.begin / kPerWord,
                                     .k_end = (block.end + kPerWord - 1) / kPerWord};
      multiply<Engine>(operands, RescaleAndAdd{scratch.factor + block.row}, block.rows, vectors);
    }
  }
}

// Part `part` of `parts` of a tile's rows into the second-level cache.
template <class T>
STROBE_INLINE void prefetch_rows(const Item& it, const KvRows<T>& rows, int part, int parts) {
  const int k_bytes = it.problem->head_dim_qk * static_cast<int>(sizeof(T));
  const int v_bytes = it.problem->head_dim_vo * static_cast<int>(sizeof(T));
  for (int t = rows.count * part / parts; t < rows.count * (part + 1) / parts; ++t) {
    for (int byte = 0; byte < k_bytes; byte += 64)
      prefetch_far(reinterpret_cast<const char*>(rows.k[t]) + byte);
    for (int byte = 0; byte < v_bytes; byte += 64)
      prefetch_far(reinterpret_cast<const char*>(rows.v[t]) + byte);
  }
}

// begin(first, end) makes the queries of rows [first, end), end(first, end) writes their outputs: group by
// group beside the products of the first and the last tile, where memory has time. Queries and outputs lie a
// token apart: all at once they took a tenth of the time.
template <class Engine, class T, class Begin, class End>
static void run_tiled(const Item& it, Begin begin, End end) {
  const Scratch& scratch = it.scratch;
  // Tiles count from the item's first token, not from the first attended one: a row's sums then never depend
  // on which other rows share the item.
  const int origin = it.item->kv_begin;
  const int groups = (it.rows + kGroupRows - 1) / kGroupRows;
  KvRows<T> buffers[2];
  KvRows<T>*now = &buffers[0], *next = &buffers[1];
  int tile = origin + round_down(it.kv_begin - origin, kTiledTokens);
  if (tile >= it.kv_end) return end(0, it.rows);
  gather_rows(it, tile, smaller(tile + kTiledTokens, it.kv_end), now);
  for (bool first_tile = true; tile < it.kv_end; tile += kTiledTokens, first_tile = false) {
    gather_rows(it, tile + kTiledTokens, smaller(tile + 2 * kTiledTokens, it.kv_end), next);
    if (it.problem->rope_inv_freq != nullptr) {
      const typename Engine::Element* rotated[kTiledTokens];
      rotate_k<Engine>(it, now->k, 0, tile, now->count, rotated);
      pack_k<Engine>(rotated, now->count, it.problem->head_dim_qk, k_panel_words(it), scratch.k);
    } else {
      pack_k<Engine>(now->k, now->count, it.problem->head_dim_qk, k_panel_words(it), scratch.k);
    }
    pack_v<Engine>(now->v, now->count, it.problem->head_dim_vo, v_panel_words<Engine>(), scratch.v);
    for (int g = 0; g < groups; ++g) {
      const int first = g * kGroupRows, rows = smaller(kGroupRows, it.rows - first);
      if (first_tile) begin(first, first + rows);
      prefetch_rows(it, *next, g, groups);
      process_group<Engine>(it, first, rows, tile, now->count);
      if (tile + kTiledTokens >= it.kv_end) end(first, first + rows);
    }
    KvRows<T>* swap = now;
    now = next;
    next = swap;
  }
}

}  // namespace strobe::cpu::STROBE_ISA
