// Deals a decode batch to the blocks of a GPU: a pure function of lengths and options, whose rules stand in
// kernels/attention/decode_plan.h.
#pragma once

#include <span>

#include "attention/decode_plan.h"
#include "plan/attention_request.h"
#include "plan/device_work_list.h"

namespace strobe::plan {

using kernel::DecodeListOptions;
using kernel::kDecodeTileTokens;
using kernel::kMostDecodeParts;

// Fills `list` (reusing its memory) with a run for each block.
void make_decode_list(std::span<const AttentionRequest> requests, const DecodeListOptions& options,
                      DeviceWorkList& list);

// The most KV heads together (a power of two up to 8) with which whole rows do; where pieces of rows do, 2 if
// they stay long, else 1; else 2 if possible. Blocks of several heads read longer pieces of memory, but merge
// more. `options.heads_together` is not read.
std::int32_t choose_heads_together(std::span<const AttentionRequest> requests, DecodeListOptions options);

}  // namespace strobe::plan
