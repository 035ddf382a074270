// From products to logits: scale, ALiBi, soft cap and masks. Logits are in base 2.
#pragma once

#include "attention/attention_params.h"
#include "attention/decode_query.cuh"
#include "ptx/exponent.h"
#include "ptx/thread.h"

namespace strobe::kernel {

constexpr int kRowTiles = kTileRows / 16;
// Of a lane: [row tile][head tile][2 * (row / 8) + column of its two], a tile's rows being KV tokens.
using Scores = float[kRowTiles][kHeadTiles][4];

constexpr float kLog2E = 1.4426950408889634f;
STROBE_DEVICE float minus_infinity() { return float_of(0xff800000); }

// KV token of a score, from the tile's first.
STROBE_DEVICE int token_of_score(int lane, int r, int i) { return r * 16 + i / 2 * 8 + lane / 4; }

STROBE_DEVICE float soft_capped(float x, float cap) {
  // tanh(y) = 1 - 2 / (e^2y + 1)
  return cap - 2 * cap / (exp2_approx(x / cap * (2 * kLog2E)) + 1);
}

// What the rows of an item may attend to, and how.
class ItemMask {
 public:
  STROBE_DEVICE void start_item(const AttentionItem& item) { item_ = item; }

  // Whether nothing is left of a tile but scaled products: all rows attend to all of its tokens.
  STROBE_DEVICE bool is_plain(const AttentionParams& p, int kv, int rows_left) const {
    const bool shaped = p.alibi_slopes != nullptr || p.logits_soft_cap > 0 || p.custom_mask != nullptr;
    const bool all_before = p.causal == 0 || kv + kTileRows - 1 <= item_.position;
    const bool all_within = p.window_left < 0 || kv >= item_.position + item_.q_tokens - 1 - p.window_left;
    return !shaped && all_before && all_within && rows_left >= kTileRows;
  }

  // Turns products into logits; whether a row of the item does not attend to some token of the tile, whose
  // tokens are kv … kv + rows_left - 1.
  STROBE_DEVICE bool apply(const AttentionParams& p, Scores& s, int kv, int rows_left) const {
    bool masked = false;
    const int lane = thread_read_anew() % kWarpThreads;
#pragma unroll
    for (int t = 0; t < kHeadTiles; ++t)
#pragma unroll
      for (int column = 0; column < 2; ++column) {
        const uint32_t row = t * 8 + lane % 4 * 2 + column;
        const int number = static_cast<int>(quotient(row, p.group));
        if (number >= item_.q_tokens) continue;  // there is no such row, and nobody looks at it
        const int head = (item_.kv_head + warp_head()) * p.group.value + remainder(row, number, p.group);
#pragma unroll
        for (int r = 0; r < kRowTiles; ++r)
#pragma unroll
          for (int half = 0; half < 2; ++half) {
            float& score = s[r][t][2 * half + column];
            const int place = token_of_score(lane, r, 2 * half),
                      distance = kv + place - item_.position - number;
            const bool exists = place < rows_left;
            const bool attends = exists && allowed(p, number, kv + place, distance);
            masked |= exists && !attends;
            score = attends ? logit(p, score, head, distance) : minus_infinity();
          }
      }
    return masked;
  }

 private:
  // Without ALiBi and soft cap, the same bits as of a plain tile.
  STROBE_DEVICE static float logit(const AttentionParams& p, float product, int head, int distance) {
    if (p.alibi_slopes == nullptr && p.logits_soft_cap <= 0) return product * p.scale_log2;
    float x = product * p.scale;
    if (p.alibi_slopes != nullptr) x += p.alibi_slopes[head] * distance;
    if (p.logits_soft_cap > 0) x = soft_capped(x, p.logits_soft_cap);
    return x * kLog2E;
  }

  STROBE_DEVICE bool allowed(const AttentionParams& p, int number, int token, int distance) const {
    if (p.causal != 0 && distance > 0) return false;
    if (p.window_left >= 0 && distance < -p.window_left) return false;
    if (p.custom_mask == nullptr) return true;
    const int64_t bit = static_cast<int64_t>(item_.q_begin + number) * item_.kv_len + token;
    const unsigned char* mask = p.custom_mask + p.custom_mask_indptr[item_.request];
    return (mask[bit >> 3] >> (bit & 7) & 1) != 0;
  }

  AttentionItem item_;
};

// The logits of a tile of which `rows_left` tokens count; whether some row does not attend to all of them.
STROBE_DEVICE bool to_logits(const AttentionParams& p, const Queries& queries, const ItemMask& mask,
                             Scores& s, int kv, int rows_left) {
#pragma unroll
  for (int r = 0; r < kRowTiles; ++r)
#pragma unroll
    for (int t = 0; t < kHeadTiles; ++t)
#pragma unroll
      for (int i = 0; i < 4; ++i)
        if constexpr (kScaledQuery) s[r][t][i] *= queries.scale(t, i % 2);
  if constexpr (kGeneral)
    if (!mask.is_plain(p, kv, rows_left)) return mask.apply(p, s, kv, rows_left);
#pragma unroll
  for (int r = 0; r < kRowTiles; ++r)
#pragma unroll
    for (int t = 0; t < kHeadTiles; ++t)
#pragma unroll
      for (int i = 0; i < 4; ++i) s[r][t][i] *= p.scale_log2;
  if (!kGeneral && rows_left < kTileRows) {
#pragma unroll
    for (int r = 0; r < kRowTiles; ++r)
#pragma unroll
      for (int i = 0; i < 4; ++i)
        if (token_of_score(lane_of_warp(), r, i) >= rows_left)
#pragma unroll
          for (int t = 0; t < kHeadTiles; ++t) s[r][t][i] = minus_infinity();
  }
  return false;
}

}  // namespace strobe::kernel
