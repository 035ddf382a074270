// Deals a decode batch to the blocks of a GPU: a pure function of lengths and options.
#pragma once

#include <span>

#include "plan/attention_request.h"
#include "plan/device_work_list.h"

namespace strobe::plan {

struct DecodeListOptions {
  std::int32_t num_kv_heads = 1;
  std::int32_t group_size = 1;      // query heads for each KV head
  std::int32_t heads_together = 1;  // KV heads that a block takes together; divides num_kv_heads
  std::int32_t blocks = 1;          // that the GPU holds at once
  std::int32_t window_left = -1;    // KV before the first query token's window is left out; -1 off
  // Splits follow from a request's own lengths alone.
  bool deterministic = false;
};

// Borders between items are multiples of this many KV tokens, so that tiles do not straddle them.
inline constexpr std::int32_t kDecodeTileTokens = 32;

// The most partial results of a row in a deterministic list.
inline constexpr std::int32_t kMostDecodeParts = 32;

// Fills `list` (reusing its memory) with a run for each block. Rows are all query tokens of a request for one
// set of KV heads. The first of these is taken that leaves no block more than 5 % above its fair share:
//   1. whole rows, in order: nothing to merge;
//   2. fewer rows than blocks: every row in equal pieces, each a block's only item;
//   3. all rows end to end, cut into runs of equal cost.
// A deterministic list has rows in pieces by their length, which go to the least busy blocks.
void make_decode_list(std::span<const AttentionRequest> requests, const DecodeListOptions& options,
                      DeviceWorkList& list);

// The most KV heads together (a power of two up to 8) with which whole rows do; 1 where pieces of rows do;
// else 2 if possible. Blocks of several heads read longer pieces of memory and have fewer, longer items.
// `options.heads_together` is not read.
std::int32_t choose_heads_together(std::span<const AttentionRequest> requests, DecodeListOptions options);

}  // namespace strobe::plan
