// From products to logits: scale, ALiBi, soft cap and masks. Logits are in base 2.
#pragma once

#include "attention/attention_params.h"
#include "attention/decode_query.cuh"
#include "ptx/exponent.h"

namespace strobe::kernel {

constexpr int kRowTiles = kTileRows / 16;
// Of a lane: [row tile][head tile][2 * (row / 8) + column of its two], a tile's rows being KV tokens.
using Scores = float[kRowTiles][kHeadTiles][4];

constexpr float kLog2E = 1.4426950408889634f;
STROBE_DEVICE float minus_infinity() { return float_of(0xff800000); }

// KV token of a score, from the tile's first.
STROBE_DEVICE int token_of_score(int r, int i) { return r * 16 + i / 2 * 8 + lane_of_warp() / 4; }

STROBE_DEVICE float soft_capped(float x, float cap) {
  // tanh(y) = 1 - 2 / (e^2y + 1)
  return cap - 2 * cap / (exp2_approx(x / cap * (2 * kLog2E)) + 1);
}

// What the rows of an item may attend to, and how; for the columns of this lane.
class ItemMask {
 public:
  STROBE_DEVICE void start_item(const AttentionParams& p, const AttentionItem& item) {
#pragma unroll
    for (int t = 0; t < kHeadTiles; ++t)
#pragma unroll
      for (int i = 0; i < 2; ++i) {
        const uint32_t row = t * 8 + lane_of_warp() % 4 * 2 + i;
        const uint32_t token = quotient(row, p.group);
        number_[t][i] = static_cast<int>(token) < item.q_tokens ? static_cast<int>(token) : -1;
        head_[t][i] = (item.kv_head + warp_head()) * p.group.value + remainder(row, token, p.group);
      }
    position_ = item.position;
    shaped_ = p.alibi_slopes != nullptr || p.logits_soft_cap > 0;
    if (p.custom_mask != nullptr) {
      mask_ = p.custom_mask + p.custom_mask_indptr[item.request];
      mask_bit_ = static_cast<int64_t>(item.q_begin) * item.kv_len;
      kv_len_ = item.kv_len;
    }
  }

  // Turns products into logits; whether a row of the item does not attend to some token of the tile, whose
  // tokens are kv … kv + rows_left - 1.
  STROBE_DEVICE bool apply(const AttentionParams& p, Scores& s, int kv, int rows_left) const {
    bool masked = false;
#pragma unroll
    for (int r = 0; r < kRowTiles; ++r)
#pragma unroll
      for (int t = 0; t < kHeadTiles; ++t)
#pragma unroll
        for (int i = 0; i < 4; ++i) {
          const int number = number_[t][i % 2], token = kv + token_of_score(r, i);
          const int distance = token - position_ - number;
          // Without the two, the same bits as in a kernel that is not general.
          float x = s[r][t][i] * (shaped_ ? p.scale : p.scale_log2);
          if (shaped_) {
            if (p.alibi_slopes != nullptr && number >= 0) x += p.alibi_slopes[head_[t][i % 2]] * distance;
            if (p.logits_soft_cap > 0) x = soft_capped(x, p.logits_soft_cap);
            x *= kLog2E;
          }
          const bool exists = token_of_score(r, i) < rows_left;
          const bool attends = number < 0 || allowed(p, number, token, distance, exists);
          masked |= exists && !attends;
          s[r][t][i] = exists && attends ? x : minus_infinity();
        }
    return masked;
  }

 private:
  STROBE_DEVICE bool allowed(const AttentionParams& p, int number, int token, int distance,
                             bool exists) const {
    if (p.causal != 0 && distance > 0) return false;
    if (p.window_left >= 0 && distance < -p.window_left) return false;
    if (p.custom_mask == nullptr || !exists) return true;
    const int64_t bit = mask_bit_ + static_cast<int64_t>(number) * kv_len_ + token;
    return (mask_[bit >> 3] >> (bit & 7) & 1) != 0;
  }

  int number_[kHeadTiles][2];  // query token within the item; -1: there is no such row
  int head_[kHeadTiles][2];
  int position_;
  bool shaped_;  // ALiBi or soft cap
  const unsigned char* mask_;
  int64_t mask_bit_;
  int kv_len_;
};

// The logits of a tile; whether some row does not attend to all of it.
STROBE_DEVICE bool to_logits(const AttentionParams& p, const Queries& queries, const ItemMask& mask,
                             Scores& s, int kv, int rows_left) {
#pragma unroll
  for (int r = 0; r < kRowTiles; ++r)
#pragma unroll
    for (int t = 0; t < kHeadTiles; ++t)
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        if constexpr (kScaledQuery) s[r][t][i] *= queries.scale(t, i % 2);
        if constexpr (!kGeneral) s[r][t][i] *= p.scale_log2;
      }
  if constexpr (kGeneral) return mask.apply(p, s, kv, rows_left);
  if (rows_left < kTileRows) {
#pragma unroll
    for (int r = 0; r < kRowTiles; ++r)
#pragma unroll
      for (int i = 0; i < 4; ++i)
        if (token_of_score(r, i) >= rows_left)
#pragma unroll
          for (int t = 0; t < kHeadTiles; ++t) s[r][t][i] = minus_infinity();
  }
  return false;
}

}  // namespace strobe::kernel
