// Cuts a batch of attention requests into work items: a pure function of shapes and options.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace strobe::plan {

// One piece of work, for each KV head alike: query tokens [q_begin, q_end) of a request against KV tokens
// [kv_begin, kv_end).
struct WorkItem {
  std::int32_t request;
  std::int32_t q_begin, q_end;
  std::int32_t kv_begin, kv_end;
  std::int32_t slot;   // partial result, or -1 when the item covers all KV that its rows attend to
  std::int32_t group;  // index into WorkList::merges, or -1
};

// What a worker takes: an item, for KV heads [kv_head_begin, kv_head_end).
struct WorkCall {
  std::int32_t item;  // index into WorkList::items
  std::int32_t kv_head_begin, kv_head_end;
};

// Items of the same rows whose partials are merged, in the order of their KV ranges.
struct MergeGroup {
  std::int32_t first_part;  // index into WorkList::parts
  std::int32_t part_count;
};

struct WorkList {
  std::vector<WorkItem> items;  // longest first
  std::vector<WorkCall> calls;  // every item for every KV head, in the order of the items
  std::vector<WorkItem> parts;  // the items with a slot, group by group
  std::vector<MergeGroup> merges;
  std::int32_t slots = 0;     // partial results for each KV head
  std::int32_t max_rows = 0;  // of any item
  std::int32_t max_partial_rows = 0;
};

// KV tokens of the shortest piece that a deterministic plan splits off.
inline constexpr std::int32_t kLeastDeterministicChunk = 2048;

struct WorkListOptions {
  std::int32_t num_kv_heads = 1;
  std::int32_t group_size = 1;    // query heads for each KV head
  std::int32_t workers = 1;       // that take items from the list concurrently
  bool causal = false;            // right-aligned: KV beyond a tile's last query position is left out
  std::int32_t window_left = -1;  // sliding window: KV before the tile's first window is left out; -1 off
  // Splits follow from a request's own lengths alone, so that neither its neighbours nor the number of
  // workers changes its bits.
  bool deterministic = false;

  std::int32_t item_rows = 0;         // the most rows of an item; 0: by rows_per_item
  std::int32_t heads_together = 16;   // the most KV heads that one call reads together
  std::int32_t items_per_worker = 4;  // of a fair share each; more balance better and merge more
  // Items of many rows are split beyond so many fair shares: merging their results costs more.
  std::int32_t many_rows_shares = 1;
};

// The most rows (query tokens x group) of one item, unless one token has more. Large items read and pack KV
// less often; smaller ones are taken when there would be too few for all workers. A deterministic plan always
// takes the large ones.
std::int32_t rows_per_item(std::int64_t query_tokens, const WorkListOptions& options);

// Fills `list` (reusing its memory). Every query token of every request is in exactly one item, or in one
// group of items whose KV ranges are disjoint and cover what it attends to. Items whose estimated time
// exceeds a worker's fair share are split along KV. Of items of few rows (decode), one call reads all KV
// heads together, whose rows of the cache are neighbours in memory, unless that leaves too few calls for all
// workers.
void make_work_list(std::span<const std::int32_t> qo_indptr, std::span<const std::int32_t> kv_lens,
                    const WorkListOptions& options, WorkList& list);

}  // namespace strobe::plan
