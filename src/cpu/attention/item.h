// What the paths of the kernel know about the item they work on: sizes, positions, masks and scratch.
#pragma once

#include "cpu/attention/attention_kernel.h"
#include "cpu/attention/engine.h"

namespace strobe::cpu::STROBE_ISA {

inline constexpr float kLog2E = 1.44269504088896340736f;
inline constexpr float kInfinity = __builtin_inff();

STROBE_INLINE constexpr int smaller(int a, int b) { return a < b ? a : b; }
STROBE_INLINE constexpr int larger(int a, int b) { return a > b ? a : b; }
STROBE_INLINE int round_up(int x, int multiple) { return (x + multiple - 1) / multiple * multiple; }
STROBE_INLINE int round_down(int x, int multiple) { return x / multiple * multiple; }

// KV tokens of one step. The tiled path packs its tile and uses it for every row; the direct path reads the
// cache in place, K and V tile together within the first-level cache (64 tokens x 128 dims x 2 bytes x 2 = 32
// KiB).
inline constexpr int kTiledTokens = 128;
inline constexpr int kDirectTokens = 64;
inline constexpr int kDirectRows = 8;  // items of at most so many rows take the direct path

inline constexpr int kMaxHeadsTogether = 16;  // KV heads that the direct path works on at a time

// Rows that pass through scores, softmax and output together, a multiple of the register tile's rows. Few, so
// that their queries, scores and probabilities stay in the first-level cache beside a panel of K or V (6 + 12
// + 6 + 16 KiB for bf16 at D128).
inline constexpr int kGroupRows = 24;

// Of the worker's scratch; all 64-byte aligned. Strides in 32-bit words.
struct Scratch {
  uint32_t* q;        // [rows][q_stride], zeros behind the head dim
  float* o;           // [rows][o_stride], not yet normalised
  float *m, *l;       // [rows] running maximum (base 2) and sum of probabilities
  float* stored_sum;  // [rows] the sum of the probabilities as P holds them, rounded: the output's divisor. l
                      // itself for f32
  float* factor;      // [rows] what a KV tile's new maximum multiplies O and l by
  int *lo, *hi;       // [rows] the KV tokens that position masks leave, lo <= kv < hi
  uint32_t* k;        // tiled: packed K (pack.h)
  uint32_t* v;        // tiled: packed V
  void* rotated;      // RoPE: [tokens of a tile][q_stride] rotated K
  float* s;           // [kGroupRows][kTiledTokens] scores
  uint32_t* p;        // [kGroupRows][kTiledTokens / kPerWord] probabilities
};

struct Item {
  const AttentionProblem* problem;
  const AttentionItem* item;
  int kv_head, group, rows;
  int qo_len, kv_len;
  int q_offset;            // q_pos = q_offset + token of the request
  int kv_begin, kv_end;    // what any row of the item attends to, by position
  int q_stride, o_stride;  // words of a row of Q and of O
  bool transforms;         // soft cap or ALiBi change the logits after scaling
  float scale;             // of q . k: to base-2 logits, or to natural ones if a transform follows
  Scratch scratch;

  int token(int row) const { return item->q_begin + row / group; }
  int q_pos(int row) const { return q_offset + token(row); }
  int head(int row) const { return kv_head * group + row % group; }
};

// Factors by head, of a query row's logits and of its output.
STROBE_INLINE float head_scale(const float* scales, int head) {
  if (scales == nullptr) return 1;
  return scales[head] > 0 ? scales[head] : __builtin_nanf("");
}
STROBE_INLINE float query_scale(const Item& it, int row) {
  return head_scale(it.problem->q_scales, it.head(row)) * head_scale(it.problem->k_scales, it.kv_head);
}

// The range of KV tokens that causality, window and item leave to a query position.
STROBE_INLINE void attended_range(const AttentionProblem& p, const AttentionItem& item, int kv_len, int q_pos,
                                  int* lo, int* hi) {
  const int end = smaller(item.kv_end, kv_len);
  *hi = larger(item.kv_begin, p.mask == AttentionMask::kCausal ? smaller(end, q_pos + 1) : end);
  *lo = p.window_left >= 0 ? smaller(*hi, larger(item.kv_begin, q_pos - p.window_left)) : item.kv_begin;
}

}  // namespace strobe::cpu::STROBE_ISA
