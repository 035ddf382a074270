// A work list in the form in which a GPU takes it.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "attention/attention_params.h"
#include "plan/attention_request.h"
#include "plan/work_list.h"

namespace strobe::plan {

struct DeviceWorkList {
  std::vector<kernel::AttentionItem> items;
  std::vector<kernel::AttentionRun> runs;  // empty: a block for each item
  std::vector<kernel::AttentionMerge> merges;
  std::int32_t slots = 0;         // partial results
  std::int32_t partial_rows = 0;  // of each

  std::int32_t blocks() const { return static_cast<std::int32_t>(runs.empty() ? items.size() : runs.size()); }
  void clear() {
    items.clear();
    runs.clear();
    merges.clear();
    slots = partial_rows = 0;
  }
};

// Makes lists for a grid of (items, KV heads): items and merges are alike for all KV heads, and a merge's or
// item's slot is that of KV head 0. Keeps its memory.
class DeviceListMaker {
 public:
  void make(std::span<const AttentionRequest> requests, const WorkListOptions& options, DeviceWorkList& list);

 private:
  std::vector<std::int32_t> qo_indptr_, kv_len_;
  WorkList work_;
};

// The most that a list can hold for any requests within a capacity.
struct ListCapacity {
  std::int64_t items, merges, slots;
};
struct BatchCapacity {
  std::int64_t requests, query_tokens, qo_len, kv_tokens;  // qo_len: of one request; kv_tokens: of all
};
ListCapacity list_capacity(const BatchCapacity& batch, const WorkListOptions& options);

}  // namespace strobe::plan
