// Logits to probabilities: scale has been applied; here are transforms (ALiBi, soft cap), masks and the
// online softmax.
#pragma once

#include "cpu/attention/item.h"
#include "cpu/simd_shuffle.h"

namespace strobe::cpu::STROBE_ISA {

// kLanes bits of the custom mask from (query token, kv) on; bits at and after `end` are not read and
// unspecified.
STROBE_INLINE uint32_t custom_mask_bits(const Item& it, int token, int kv, int end) {
  const AttentionProblem& p = *it.problem;
  const int64_t first = static_cast<int64_t>(token) * it.kv_len + kv;
  const uint8_t* byte = p.custom_mask + p.custom_mask_indptr[it.item->request] + first / 8;
  const int shift = static_cast<int>(first % 8);
  const int used = shift + smaller(end - kv, kLanes);
  uint32_t word = byte[0];
  if (used > 8) word |= static_cast<uint32_t>(byte[1]) << 8;
  if (used > 16) word |= static_cast<uint32_t>(byte[2]) << 16;
  return word >> shift;
}

// Set in the lanes kv, kv + 1, … that the row attends to.
STROBE_INLINE I32 attended_lanes(const Item& it, int row, int kv) {
  const I32 position = lane_numbers() + kv;
  I32 mask = (position >= it.scratch.lo[row]) & (position < it.scratch.hi[row]);
  if (it.problem->mask == AttentionMask::kCustom && kv < it.scratch.hi[row]) {
    const U32 bit = splat(custom_mask_bits(it, it.token(row), kv, it.scratch.hi[row])) >> (U32)lane_numbers();
    mask &= (I32)(bit & 1) != 0;
  }
  return mask;
}

// ALiBi, then the soft cap, then to base 2. `x` holds natural logits of tokens kv, kv + 1, …
STROBE_INLINE F32 transform_logits(const AttentionProblem& p, F32 x, int head, int q_pos, int kv) {
  if (p.alibi_slopes != nullptr) x += p.alibi_slopes[head] * to_f32(lane_numbers() + (kv - q_pos));
  if (p.logits_soft_cap > 0) x = p.logits_soft_cap * tanh(x / p.logits_soft_cap);
  return x * kLog2E;
}

// Columns of a KV tile, multiples of kLanes.
struct Columns {
  int begin, end;
};

// Transforms and masks one row's scores in place; `x` is the row, column 0 is token `tile`.
static void finish_logits(const Item& it, int row, int tile, Columns columns, float* x) {
  const bool masked = tile + columns.begin < it.scratch.lo[row] || tile + columns.end > it.scratch.hi[row] ||
                      it.problem->mask == AttentionMask::kCustom;
  for (int c = columns.begin; c < columns.end; c += kLanes) {
    F32 logits = load(x + c);
    if (it.transforms) logits = transform_logits(*it.problem, logits, it.head(row), it.q_pos(row), tile + c);
    if (masked) logits = select(attended_lanes(it, row, tile + c), logits, splat(-kInfinity));
    store(x + c, logits);
  }
}

STROBE_INLINE bool needs_finishing(const Item& it, int row, int tile, Columns columns) {
  return it.transforms || it.problem->mask == AttentionMask::kCustom ||
         tile + columns.begin < it.scratch.lo[row] || tile + columns.end > it.scratch.hi[row];
}

// The online softmax of rows [row, row + count), count <= kLanes, over one KV tile. Row i's scores lie in s +
// i * kTiledTokens, and only its columns[i] have been computed; they become probabilities in p. Updates m and
// l and leaves in `factor` what the row's output must be multiplied by. A row whose maximum is still -inf is
// referred to 0: all its probabilities are 0.
template <class Engine>
static void softmax_rows(const Item& it, int row, int count, int tile, const Columns* columns, float* s,
                         uint32_t* p) {
  F32 each[kLanes];
#pragma GCC unroll 16
  for (int i = 0; i < kLanes; ++i) each[i] = splat(-kInfinity);
  for (int i = 0; i < count; ++i) {
    float* x = s + i * kTiledTokens;
    if (needs_finishing(it, row + i, tile, columns[i])) finish_logits(it, row + i, tile, columns[i], x);
    F32 top = splat(-kInfinity);
    for (int c = columns[i].begin; c < columns[i].end; c += kLanes) top = max(load(x + c), top);
    each[i] = top;
  }

  float* m = it.scratch.m + row;
  float* l = it.scratch.l + row;
  float* factor = it.scratch.factor + row;
  const F32 old_max = load(m);
  const F32 new_max = max(reduce_each<Max>(each), old_max);
  const F32 reference = select(new_max == -kInfinity, splat(0.0f), new_max);
  store(m, new_max);
  store(factor, exp2(old_max - reference));
  float references[kLanes];
  store(references, reference);

  F32 each_stored[kLanes];
#pragma GCC unroll 16
  for (int i = 0; i < kLanes; ++i) each[i] = each_stored[i] = F32{};
  for (int i = 0; i < count; ++i) {
    const float* x = s + i * kTiledTokens;
    auto* probabilities =
        reinterpret_cast<typename Engine::Element*>(p + i * (kTiledTokens / Engine::kPerWord));
    F32 sum = {}, stored_sum = {};
    for (int c = columns[i].begin; c < columns[i].end; c += kLanes) {
      const F32 e = Engine::probability(load(x + c) - references[i]);
      const F32 stored = Engine::as_stored(e);
      sum += e;
      stored_sum += stored;
      Engine::store_elements(probabilities + c, stored);
    }
    each[i] = sum;
    each_stored[i] = stored_sum;
  }
  store(l, load(l) * load(factor) + reduce_each<Add>(each));
  if constexpr (Engine::kRoundsProbabilities) {
    float* stored_sum = it.scratch.stored_sum + row;
    store(stored_sum, load(stored_sum) * load(factor) + reduce_each<Add>(each_stored));
  }
}

}  // namespace strobe::cpu::STROBE_ISA
