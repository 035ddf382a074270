// The CPU attention kernel: what a run is (AttentionProblem), what one call computes (AttentionItem), the
// calls. The planner (src/plan) makes the items; any worker may run any item with its own scratch.
#pragma once

#include <cstddef>
#include <cstdint>

#include "cpu/isa.h"
#include "strobe/dtype.h"

namespace strobe::cpu {

enum class AttentionMask : int { kNone, kCausal, kCustom };

// What all items of one run share. Strides are in elements; the innermost stride of q, k, v and out is 1.
struct AttentionProblem {
  const void* q;  // [tokens of all requests, num_qo_heads, head_dim_qk]; f32, f16, bf16 or e4m3
  int64_t q_stride_token, q_stride_head;
  Dtype q_dtype;

  // Paged (page_size > 0): [pages, page_size, num_kv_heads, dim] in the order that the strides say; else rows
  // of all requests, [tokens, num_kv_heads, dim], and the page strides are unused. f32, f16, bf16, e4m3 or
  // e5m2; e4m3 where q is.
  const void* k;
  int64_t k_stride_page, k_stride_token, k_stride_head;
  const void* v;
  int64_t v_stride_page, v_stride_token, v_stride_head;
  Dtype kv_dtype;

  const int32_t* qo_indptr;  // [batch + 1] first query row of each request
  const int32_t*
      kv_indptr;  // [batch + 1] paged: first of the request's pages in kv_indices; else its first KV row
  const int32_t* kv_indices;  // page numbers; paged only
  int page_size;
  const int32_t* kv_len;  // [batch] tokens

  int num_qo_heads, num_kv_heads;  // query head h reads KV head h / (num_qo_heads / num_kv_heads)
  int head_dim_qk, head_dim_vo;    // multiples of 8, at most 512

  float sm_scale;  // logits = q . k * sm_scale; scales of q and k are folded in
  float v_scale;   // multiplies the output
  // Factors by head where q is e4m3; null: 1. One that is not positive makes NaN.
  const float* q_scales;             // [num_qo_heads]
  const float *k_scales, *v_scales;  // [num_kv_heads]
  float logits_soft_cap;             // cap * tanh(logits / cap); 0 = off
  int window_left;                   // keeps kv >= q_pos - window_left, on top of any mask; -1 = off

  AttentionMask mask;  // kCausal: kv <= q_pos, with q_pos = kv_len - qo_len + qo
  const uint8_t*
      custom_mask;  // kCustom: bit qo * kv_len + kv of the request's bytes, little endian, 1 = attend
  const int64_t* custom_mask_indptr;  // [batch + 1], bytes

  const float* alibi_slopes;  // [num_qo_heads] or null: adds slope * (kv - q_pos) before the soft cap
  const float*
      sinks;  // [num_qo_heads] or null: one more logit (natural log) in the denominator, without a value

  // null = off; rotates q at q_pos and k at its position by pos * rope_inv_freq[i], i < rotary_dim / 2, in
  // the pairs (i, i + rotary_dim / 2), or (2i, 2i + 1) if interleaved. Further dims pass through.
  const float* rope_inv_freq;
  int rotary_dim;
  bool rope_interleave;

  void* out;  // f32, f16 or bf16; 0 for a row that attends to nothing
  int64_t out_stride_token, out_stride_head;
  Dtype out_dtype;
  float* lse;  // null = not wanted; base 2, the sink included; -inf for a row that attends to nothing
  int64_t lse_stride_token, lse_stride_head;

  // Results of items with a slot, each normalised over its own KV range, without the sink:
  // [slot * num_kv_heads + kv_head][partial_rows][head_dim_vo] and [...][partial_rows] (base 2).
  float* partial_out;
  float* partial_lse;
  int64_t partial_rows;
};

// One piece of work: query tokens [q_begin, q_end) of a request against its KV tokens [kv_begin, kv_end), for
// one KV head. It has (q_end - q_begin) * group rows; row = token * group + head within the group.
struct AttentionItem {
  int32_t request;
  int32_t q_begin, q_end;
  int32_t kv_begin, kv_end;
  int32_t slot;  // -1: writes out and lse itself; else the partial slot
};

}  // namespace strobe::cpu

// Bytes of scratch for items of at most `max_rows` rows; the scratch is 64-byte aligned and belongs to one
// call at a time.
STROBE_CPU_KERNEL(size_t, attention_scratch_bytes, (const AttentionProblem& problem, int max_rows))

// Computes one item for KV heads [kv_head_begin, kv_head_end). Items of few rows read the cache for up to 16
// heads together, in the order of its addresses. A row's result does not depend on which rows and heads share
// its item, except that items of few rows and items of many take different paths (the rows of an item are all
// the choice depends on).
STROBE_CPU_KERNEL(void, attention_item,
                  (const AttentionProblem& problem, const AttentionItem& item, int kv_head_begin,
                   int kv_head_end, void* scratch))

// Merges the partial results of `count` items over the same rows, in the order given, into out and lse.
STROBE_CPU_KERNEL(void, attention_merge,
                  (const AttentionProblem& problem, const AttentionItem* parts, int count, int kv_head,
                   void* scratch))
