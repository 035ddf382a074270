// What the attention kernels take: tensors, masks, scales, and the work list that a plan has put on the
// device. Every kernel of attention (prefill, decode, merge) takes the same struct.
#pragma once

#include "tile/divisor.h"
#include "tile/ints.h"

namespace strobe::kernel {

// One piece of work: neighbouring query tokens of a request against a range of its KV tokens, for the KV
// heads [kv_head, kv_head + heads), where `heads` is a constant of the kernel (prefill: 1). It has q_tokens *
// group rows a KV head; row = token * group + head within the group. The first 16 bytes are all that copying
// K and V takes.
struct alignas(16) AttentionItem {
  int32_t kv_head;           // -1: a block without work
  int32_t kv_begin, kv_end;  // KV tokens of the request; equal: the rows attend to nothing here
  int32_t kv_base;           // paged: where the request's pages begin in kv_indices; else its first KV row

  int32_t q_row;     // row of q and out of the first query token
  int32_t q_tokens;  // at least 1
  int32_t position;  // of the first query token: kv_len - qo_len + q_begin
  int32_t slot;      // -1: writes out and lse; else KV head kv_head + h gives partial result slot + h

  int32_t request;
  int32_t q_begin;  // the first query token's number in its request
  int32_t kv_len;
  int32_t merge;  // decode, where slot is not -1: that of the first of the item's KV heads
};

// Further items of a block, after items[block]: items[begin] … items[end - 1].
struct AttentionRun {
  int32_t begin, end;
};

// Rows whose partial results are merged: slots first_slot + i * slot_stride, i < parts, in the order of their
// KV ranges.
struct alignas(16) AttentionMerge {
  int32_t kv_head, q_row, q_tokens;
  int32_t first_slot, slot_stride, parts;
  int32_t item;  // one of those with these rows; not of lists for the decode kernel
  int32_t unused;
};

// Of the grid's blocks those below are used, where the grid was sized for a plan's capacity.
struct AttentionCounts {
  int32_t items, merges;
};

struct AttentionParams {
  // Strides are bytes; the innermost axis is contiguous.
  const char* q;  // [nnz_qo, num_qo_heads, head_dim_qk]
  int64_t q_stride_token, q_stride_head;
  // Paged: [pages, page_size, num_kv_heads, dim] in the order that the strides say; else [nnz_kv,
  // num_kv_heads, dim].
  const char* k;
  int64_t k_stride_page, k_stride_token, k_stride_head;
  const char* v;
  int64_t v_stride_page, v_stride_token, v_stride_head;
  char* out;  // [nnz_qo, num_qo_heads, head_dim_vo]
  int64_t out_stride_token, out_stride_head;
  float* lse;  // [nnz_qo, num_qo_heads], base 2; null: not wanted
  int64_t lse_stride_token, lse_stride_head;

  const int32_t* kv_indices;  // page numbers
  Divisor page_size;          // tokens of a page; value 0: not paged
  Divisor group;              // query heads of a KV head
  int32_t num_kv_heads;
  int32_t head_dim_qk, head_dim_vo;
  int32_t q_dtype, kv_dtype, out_dtype;  // Dtypes

  // x = q . k * scale; + slope * (kv position - q position); logits_soft_cap * tanh(x / logits_soft_cap).
  float scale;             // q_scale and k_scale included
  float scale_log2;        // scale * log2(e), for kernels that go to base 2 at once
  float logits_soft_cap;   // 0: off
  float soft_cap_inverse;  // 1 / logits_soft_cap
  float v_scale;           // multiplies the output
  // Of e4m3 queries, beside those above; null: 1. What is not positive makes NaN.
  const float* q_scales;             // [num_qo_heads]
  const float *k_scales, *v_scales;  // [num_kv_heads]
  int32_t causal;                    // kv <= position
  int32_t window_left;               // kv >= position - window_left; -1: off
  const float* alibi_slopes;         // [num_qo_heads]; null: off
  const float* sinks;                // [num_qo_heads], natural logarithm; null: off
  // [head_dim_qk / 2] by which pair i turns from one position to the next: turns / 2^64; null: off
  const uint64_t* rope_turns;
  int32_t rope_interleave;  // pairs (2i, 2i + 1) instead of (i, i + head_dim_qk / 2)
  // Bit q * kv_len + kv of the request's bytes, little endian, 1 = attend; null: off.
  const unsigned char* custom_mask;
  const int64_t* custom_mask_indptr;  // bytes, by request

  const AttentionItem* items;  // a block's first item is items[block]
  const AttentionRun* runs;    // by block; null: every block has one item
  int32_t heads_together;      // KV heads of an item; 0: those of the grid's y axis, one a block
  const AttentionMerge* merges;
  uint32_t* arrivals;  // decode, by AttentionItem::merge: pieces that are there; 0 between launches
  const AttentionCounts* counts;  // null: the whole grid is used

  // Normalised over the partial's KV range, without the sink and v_scale: [slot][partial_rows][head_dim_vo]
  // and [slot][partial_rows], base 2; -inf and anything where the range gave nothing to a row.
  float* partial_out;
  float* partial_lse;
  int32_t partial_rows;
};

}  // namespace strobe::kernel
