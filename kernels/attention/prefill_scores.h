// Products of queries and keys become logits, and masks hide some. For kernels with the constants of
// prefill_block.h, behind their Hooks.
//
// Of a row, bit i of word w is for token 32 w + i of the tile; a lane's tokens are the bits 8 n and 8 n + 1
// from its first column.
#pragma once

#include "attention/prefill_tile.h"

namespace strobe::kernel {

// The score of a token that a row does not attend to.
STROBE_DEVICE float nothing_scored() { return Hooks::kSoftmax ? minus_infinity() : 0.0f; }

STROBE_DEVICE int32_t first_column_of_lane() { return lane_of_thread() % 4 * 2; }

// A thread for each row: its bits of the custom mask for tile `number`, which end with the request's.
struct MaskBits {
  uint32_t word[kTileWords];

  STROBE_DEVICE void load(const AttentionParams& params, const Shared& shared, int32_t number) {
    const AttentionItem& item = shared.item;
    const TileRow& row = shared.row[min(static_cast<int32_t>(threadIdx.x), kTileRows - 1)];
    const int32_t first = shared.ranges.block.begin + number * kTileTokens;
    const int32_t count = row.range.end > first ? min(kTileTokens, item.kv_len - first) : 0;
    const int64_t bit =
        static_cast<int64_t>(item.q_begin + row.position - item.position) * item.kv_len + first;
    const auto shift = static_cast<int32_t>(bit & 7);
    const unsigned char* bytes = params.custom_mask + params.custom_mask_indptr[item.request] + (bit >> 3);
    uint64_t low = 0, high = 0;
#pragma unroll
    for (int i = 0; i <= kTileTokens / 8; ++i) {
      const uint64_t byte = i * 8 < shift + count ? bytes[i] : 0;
      (i < 8 ? low : high) |= byte << i % 8 * 8;
    }
    const uint64_t bits = low >> shift | high << 1 << (63 - shift);
#pragma unroll
    for (int w = 0; w < kTileWords; ++w) word[w] = static_cast<uint32_t>(bits >> 32 * w);
  }
  STROBE_DEVICE void store(Shared& shared, int32_t number) const {
    if (threadIdx.x >= kTileRows) return;
#pragma unroll
    for (int w = 0; w < kTileWords; ++w) shared.mask[number % 2][w][threadIdx.x] = word[w];
  }
};

// What positions and the custom mask let the row at `place` see of tile `number`.
STROBE_DEVICE uint32_t visible_tokens(const AttentionParams& params, const Shared& shared, int32_t number,
                                      int32_t place, int word) {
  const int32_t first = shared.ranges.block.begin + number * kTileTokens + word * 32;
  const uint32_t bits = bits_of_range(shared.row[place].range, first);
  if (!kGeneral || params.custom_mask == nullptr) return bits;
  return bits & shared.mask[number % 2][word][place];
}

// Whether a lane's columns of group n of a word, shifted to the first, are visible.
STROBE_DEVICE bool is_visible(uint32_t visible, int n, int i) { return visible >> (n * 8 + i) & 1; }

// The logits of a lane's tokens, from `token`, that a row sees; hooks are called for these alone.
template <class AnyHooks>
STROBE_DEVICE void ask_hooks(AnyHooks& hooks, const ItemRow& row, int32_t token, int half,
                             const uint32_t (&visible)[kTileWords], float (&scores)[kTokenGroups][4]) {
  constexpr uint32_t kColumns = kWordGroups == 4 ? 0x03030303 : 0x0303;
  bool all = true;
#pragma unroll
  for (uint32_t word : visible) all = all && (word & kColumns) == kColumns;
  if (all) {
#pragma unroll
    for (int n = 0; n < kTokenGroups; ++n)
#pragma unroll
      for (int i = 0; i < 2; ++i) {
        float& x = scores[n][half * 2 + i];
        x = hooks.logit(row, kv_head_of_block(), token + n * 8 + i, x);
      }
    return;
  }
#pragma unroll
  for (int n = 0; n < kTokenGroups; ++n)
#pragma unroll
    for (int i = 0; i < 2; ++i) {
      float& x = scores[n][half * 2 + i];
      x = is_visible(visible[n / kWordGroups], n % kWordGroups, i)
              ? hooks.logit(row, kv_head_of_block(), token + n * 8 + i, x)
              : nothing_scored();
    }
}

// The scores of tile `number` become logits: the general form's and a user's in base 2, others' unscaled.
template <class AnyHooks>
STROBE_DEVICE void finish_scores(const AttentionParams& params, const Shared& shared, AnyHooks& hooks,
                                 int32_t number, bool masked, Scores& scores) {
  const int32_t token = shared.ranges.block.begin + number * kTileTokens + first_column_of_lane();
#pragma unroll
  for (int t = 0; t < kRowTiles; ++t)
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const int32_t place = place_of_lane(t, half);
      const TileRow& row = shared.row[place];
      if constexpr (kGeneral && !AnyHooks::kOfUser) hooks.finish_logits(row, token, half, scores[t]);
      if (!AnyHooks::kOfUser && !masked) continue;
      uint32_t visible[kTileWords];
#pragma unroll
      for (int word = 0; word < kTileWords; ++word)
        visible[word] = visible_tokens(params, shared, number, place, word) >> first_column_of_lane();
      if constexpr (AnyHooks::kOfUser) {
        const ItemRow at(row.position - shared.item.position, row.position, row.head);
        ask_hooks(hooks, at, token, half, visible, scores[t]);
      } else {
#pragma unroll
        for (int n = 0; n < kTokenGroups; ++n)
#pragma unroll
          for (int i = 0; i < 2; ++i)
            if (!is_visible(visible[n / kWordGroups], n % kWordGroups, i))
              scores[t][n][half * 2 + i] = minus_infinity();
      }
    }
}

// Notes which tokens of tile `number` the rows attend to, a thread for each row.
STROBE_DEVICE void note_visible(const AttentionParams& params, int32_t number, Shared& shared) {
  const auto place = static_cast<int32_t>(threadIdx.x);
  if (place >= kTileRows) return;
#pragma unroll
  for (int word = 0; word < kTileWords; ++word)
    shared.visible[word][place] = visible_tokens(params, shared, number, place, word);
}

// The same for the warp's rows by their finished scores, so that a user's hooks are asked once.
STROBE_DEVICE void note_visible(const Scores& scores, Shared& shared) {
#pragma unroll
  for (int t = 0; t < kRowTiles; ++t)
#pragma unroll
    for (int half = 0; half < 2; ++half)
#pragma unroll
      for (int word = 0; word < kTileWords; ++word) {
        uint32_t visible = 0;
#pragma unroll
        for (int n = 0; n < kWordGroups; ++n)
#pragma unroll
          for (int i = 0; i < 2; ++i)
            if (scores[t][word * kWordGroups + n][half * 2 + i] != nothing_scored())
              visible |= 1u << (n * 8 + i);
        visible <<= first_column_of_lane();
        visible |= __shfl_xor_sync(0xffffffff, visible, 1);
        visible |= __shfl_xor_sync(0xffffffff, visible, 2);
        if (lane_of_thread() % 4 == 0) shared.visible[word][place_of_lane(t, half)] = visible;
      }
  __syncwarp();
}

}  // namespace strobe::kernel
