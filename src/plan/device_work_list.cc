#include "plan/device_work_list.h"

#include <algorithm>

namespace strobe::plan {

void DeviceListMaker::make(std::span<const AttentionRequest> requests, const WorkListOptions& options,
                           DeviceWorkList& list) {
  qo_indptr_.assign(1, 0);
  kv_len_.clear();
  for (const AttentionRequest& request : requests) {
    qo_indptr_.push_back(qo_indptr_.back() + request.qo_len);
    kv_len_.push_back(request.kv_len);
  }
  make_work_list(qo_indptr_, kv_len_, options, work_);
  const std::int32_t heads = options.num_kv_heads;
  list.clear();
  list.slots = work_.slots * heads;
  list.partial_rows = work_.max_partial_rows;
  list.items.reserve(work_.items.size());
  for (const WorkItem& item : work_.items) {
    const AttentionRequest& request = requests[static_cast<std::size_t>(item.request)];
    list.items.push_back({.kv_head = 0,
                          .kv_begin = item.kv_begin,
                          .kv_end = item.kv_end,
                          .kv_base = request.kv_base,
                          .q_row = request.q_row + item.q_begin,
                          .q_tokens = item.q_end - item.q_begin,
                          .position = request.kv_len - request.qo_len + item.q_begin,
                          .slot = item.slot < 0 ? -1 : item.slot * heads,
                          .request = request.request,
                          .q_begin = item.q_begin,
                          .kv_len = request.kv_len,
                          .merge = -1});
  }
  for (const MergeGroup& group : work_.merges) {
    const WorkItem& first = work_.parts[static_cast<std::size_t>(group.first_part)];
    const AttentionRequest& request = requests[static_cast<std::size_t>(first.request)];
    list.merges.push_back({.kv_head = 0,
                           .q_row = request.q_row + first.q_begin,
                           .q_tokens = first.q_end - first.q_begin,
                           .first_slot = first.slot * heads,
                           .slot_stride = heads,
                           .parts = group.part_count,
                           .item = 0,
                           .unused = 0});
  }
  for (std::size_t i = 0; i < work_.items.size(); ++i)
    if (const std::int32_t group = work_.items[i].group; group >= 0)
      list.merges[static_cast<std::size_t>(group)].item = static_cast<std::int32_t>(i);
}

ListCapacity list_capacity(const BatchCapacity& batch, const WorkListOptions& options) {
  const std::int64_t tile_tokens = std::max(1, options.item_rows / options.group_size);
  const auto tiles_of = [&](std::int64_t tokens) { return (tokens + tile_tokens - 1) / tile_tokens; };
  // Every request's last tile may be a part of one.
  const std::int64_t tiles =
      std::min(batch.requests * tiles_of(batch.qo_len), batch.query_tokens / tile_tokens + batch.requests);
  // Beyond its first part a tile has at most one for each chunk of its KV, or for each fair share of all
  // work.
  const std::int64_t more =
      options.deterministic
          ? tiles_of(batch.qo_len) * (batch.kv_tokens / kLeastDeterministicChunk)
          : std::int64_t{options.workers} * options.items_per_worker / options.num_kv_heads + 1;
  return {.items = tiles + more,
          .merges = std::min(tiles, more),
          .slots = std::min(2 * more, tiles + more) * options.num_kv_heads};
}

}  // namespace strobe::plan
