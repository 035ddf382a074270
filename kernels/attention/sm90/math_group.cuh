// A math group: 64 query rows against one KV block after the other.
#pragma once

#include "attention/sm90/kept_outputs.cuh"
#include "ptx/elect.h"

namespace strobe::kernel {

STROBE_DEVICE void multiply_q_k(Scores& s, MatrixPlace query, MatrixPlace key) {
  fence_sums(s);
  begin_products();
#pragma unroll
  for (int step = 0; step < kDimQk / kStepK; ++step) {
    constexpr int kPanelSteps = kPanelRowBytes / kStepBytes;
    const int panel = step / kPanelSteps, within = step % kPanelSteps;
    multiply<kType>(s, advance<kStepBytes>(advance<kQueryPanel>(query, panel), within),
                    advance<kStepBytes>(advance<kKeyLayout.panel>(key, panel), within), step != 0);
  }
  end_products();
}

STROBE_DEVICE void multiply_p_v(Outputs& out, const Weights& weights, MatrixPlace value, bool add) {
  fence_sums(out);
  begin_products();
#pragma unroll
  for (int step = 0; step < kWeightSteps; ++step) {
    constexpr int kNext = kFp8 ? kTransposedPanel : kStepK / 8 * kValueLayout.eight_rows;
    multiply<kType>(out, weights[step], advance<kNext>(value, step), add || step != 0);
  }
  end_products();
}

// A thread's part in its group's walk through tiles. Products are issued two at a time, so that the tensor
// core has this group's next product queued while the group calculates or stores:
//   Q K[n] | P V[n + 1] -> softmax n -> Q K[n - 1] | P V[n] -> … -> P V[first] | Q' K'[last] -> store ->
//   softmax of the next
struct MathGroup {
  const AttentionSm90Params& params;
  char* shared;
  SharedAddress base;
  Barriers barriers;
  int32_t group, row, lane;  // row: the thread's first one within the group
  MatrixPlace keys, values, query;
  float row_scale[2];  // e4m3: of the logits of the thread's rows, to base 2
  KeptOutputs kept;    // e4m3
  Ring<kStages> key, value;
  Ring<kQuerySlots> slot;
  Ring<kTileInfos> info;
  bool skips;  // the tile's first block: the group sees nothing of it

  STROBE_DEVICE SharedAddress queries_at(int32_t at) const {
    return base + kQueriesAt + (at * kGroups + group) * kQueryBytes;
  }

  // Stays in shared memory: there are few registers.
  STROBE_DEVICE const Tile& tile() const { return tile_info(shared, info.at); }
  STROBE_DEVICE const Tile& next_tile() const { return tile_info(shared, (info.at + 1) % kTileInfos); }

  // Waits for the queries in the slot; whether there are any.
  STROBE_DEVICE bool wait_for_tile(const Tile& next) {
    wait_for_phase(barriers.query_full(slot.at), slot.phase);
    return next.last >= 0;
  }

  // After the last tile, a product of the queries and keys before: one under a condition would make the
  // compiler serialise all.
  STROBE_DEVICE void issue_first_q_k(Scores& s, const Tile& next, bool real) {
    skips = kKeepsToItsRows && real && next.last > next.first &&
            seen_by_row(next, kGroupRows - 1).end <= next.last * kBlockTokens;
    if (skips) pass_over_key(false);
    const int32_t before = key.at == 0 ? kStages - 1 : key.at - 1;
    if (real) {
      query = place_along_k(queries_at(slot.at), kEightRowsBytes);
      wait_for_phase(barriers.key_full(key.at), key.phase);
    }
    multiply_q_k(s, query, advance<kKeyBytes>(keys, real ? key.at : before));
  }

  STROBE_DEVICE void issue_q_k(Scores& s) {
    wait_for_phase(barriers.key_full(key.at), key.phase);
    multiply_q_k(s, query, advance<kKeyBytes>(keys, key.at));
  }

  STROBE_DEVICE void issue_p_v(Outputs& out, const Weights& weights) {
    wait_for_phase(barriers.value_full(value.at), value.phase);
    constexpr int kStage = kFp8 ? kTransposedBytes : kValueBytes;
    multiply_p_v(out, weights, advance<kStage>(values, value.at), !kFp8 || !kept.is_fresh());
  }

  STROBE_DEVICE void release_queries() {
    if (is_elected()) arrive(barriers.query_free(slot.at));
    slot.advance();
  }

  STROBE_DEVICE void release_key(bool ends_tile) {
    if (is_elected()) arrive(barriers.key_free(key.at));
    key.advance();
    if (kKeepsToItsRows && ends_tile) release_queries();
  }

  STROBE_DEVICE void release_value() {
    if (is_elected()) arrive(barriers.value_free(value.at));
    value.advance();
  }

  // Of blocks that no row of the group needs.
  STROBE_DEVICE void pass_over_key(bool ends_tile) {
    wait_for_phase(barriers.key_full(key.at), key.phase);
    release_key(ends_tile);
  }
  STROBE_DEVICE void pass_over_value() {
    wait_for_phase(barriers.value_full(value.at), value.phase);
    release_value();
  }

  // What a row of the group sees, and of the thread's two.
  STROBE_DEVICE TokenRange seen_by_row(const Tile& tile, int32_t row) const {
    const int32_t token = (group * kGroupRows + row) >> params.pack_log2;
    return attended(params.attention, tile.item, tile.item.position + min(token, tile.item.q_tokens - 1));
  }
  STROBE_DEVICE TokenRange seen_by(int half) const { return seen_by_row(tile(), row + 8 * half); }

  // What no row of the group has a mask for.
  STROBE_DEVICE BlockRange open_blocks() const {
    if (!kKeepsToItsRows) return {tile().open_begin, tile().open_end};
    return {(seen_by_row(tile(), kGroupRows - 1).begin + kBlockTokens - 1) / kBlockTokens,
            seen_by_row(tile(), 0).end / kBlockTokens};
  }

  // Whether the tile ends before the group's rows.
  STROBE_DEVICE bool is_idle() const {
    return kKeepsToItsRows && group * kGroupRows >= tile().item.q_tokens << params.pack_log2;
  }

  STROBE_DEVICE void mask(Scores& s, int32_t block) const {
    const int32_t token = block * kBlockTokens + lane % 4 * 2;
    int32_t first[2], last[2];
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const TokenRange sees = seen_by(half);
      first[half] = sees.begin - token;
      last[half] = sees.end - 1 - token;
    }
    mask_after(s, last);
    if (params.attention.window_left >= 0 || tile().item.kv_begin > block * kBlockTokens)
      mask_before(s, first);
  }

  STROBE_DEVICE int32_t head_of(int half) const {
    return tile().pack << params.pack_log2 | ((row + 8 * half) & ((1 << params.pack_log2) - 1));
  }

  // At the begin of a tile.
  STROBE_DEVICE void find_scales() {
    const AttentionParams& attention = params.attention;
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      row_scale[half] = attention.scale_log2;
      if (kFp8)
        row_scale[half] *= head_scale(attention.q_scales, head_of(half)) *
                           head_scale(attention.k_scales, tile().item.kv_head);
    }
  }
  STROBE_DEVICE float scale_of(int half) const {
    return kFp8 ? row_scale[half] : params.attention.scale_log2;
  }

  template <bool kMasked>
  STROBE_DEVICE void step(Outputs& out, Weights& weights, RowStates& state, int32_t block, bool ends_tile) {
    const float scale[2] = {scale_of(0), scale_of(1)};
    Scores s;
    float rescale[2];
    issue_q_k(s);
    issue_p_v(out, weights);
    wait_for_products<1>();
    fence_sums(s);
    release_key(ends_tile);
    if (kMasked) mask(s, block);
    weigh<false, kMasked>(s, state, rescale, scale);
    wait_for_products<0>();
    fence_sums(out);
    release_value();
    pack_weights(weights, s);
    if (__any_sync(0xffffffff, rescale[0] != 1.0f || rescale[1] != 1.0f)) rescale_rows(out, rescale);
    if (kFp8) kept.count_block(shared, out, state, scale);
  }
};

}  // namespace strobe::kernel
