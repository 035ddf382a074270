#include "plan/work_list.h"

#include <algorithm>
#include <iterator>

namespace strobe::plan {
namespace {

constexpr std::int32_t kSplitAlignment = 64;  // KV tokens; kernels work in tiles of this size or multiples
constexpr std::int32_t kSmallestSplit = 256;  // KV tokens; below, merging costs more than a worker gains
constexpr std::int32_t kFewRows = 8;          // rows up to which an item is bound by reading KV
constexpr std::int32_t kFewRowsChunk =
    kLeastDeterministicChunk;                  // KV tokens of a deterministic split, for few rows
constexpr std::int32_t kManyRowsChunk = 8192;  // and for many
constexpr std::int64_t kReadRows = 16;  // reading a KV token takes as long as computing this many rows on it
constexpr std::int64_t kItemTokens = 32;               // an item's fixed cost, in KV tokens of few rows
constexpr std::int32_t kItemRows[] = {640, 320, 192};  // see rows_per_item

struct Tile {
  std::int32_t q_begin, q_end, kv_begin, kv_end;
};

Tile tile_at(std::int32_t q_begin, std::int32_t tokens, std::int32_t qo_len, std::int32_t kv_len,
             const WorkListOptions& options) {
  const std::int32_t q_end = std::min(qo_len, q_begin + tokens);
  const std::int32_t shift = kv_len - qo_len;  // position of query token 0
  Tile tile{q_begin, q_end, 0, kv_len};
  if (options.causal) tile.kv_end = std::clamp(shift + q_end, 0, kv_len);
  if (options.window_left >= 0)
    tile.kv_begin = static_cast<std::int32_t>(
        std::clamp<std::int64_t>(std::int64_t{shift} + q_begin - options.window_left, 0, tile.kv_end));
  return tile;
}

std::int64_t cost_of(std::int32_t rows, std::int32_t kv_tokens) {
  return (kv_tokens + kItemTokens) * (kReadRows + rows);
}

class Builder {
 public:
  Builder(const WorkListOptions& options, std::int64_t query_tokens, WorkList& list)
      : options_(options),
        list_(list),
        tokens_(
            std::max(1, (options.item_rows > 0 ? options.item_rows : rows_per_item(query_tokens, options)) /
                            options.group_size)) {
    list.items.clear();
    list.calls.clear();
    list.parts.clear();
    list.merges.clear();
    list.slots = list.max_rows = list.max_partial_rows = 0;
  }

  template <class F>
  void for_each_tile(std::span<const std::int32_t> qo_indptr, std::span<const std::int32_t> kv_lens,
                     F f) const {
    for (std::size_t request = 0; request < kv_lens.size(); ++request) {
      const std::int32_t qo_len = qo_indptr[request + 1] - qo_indptr[request];
      for (std::int32_t q = 0; q < qo_len; q += tokens_)
        f(static_cast<std::int32_t>(request), tile_at(q, tokens_, qo_len, kv_lens[request], options_));
    }
  }

  template <class TileOrItem>
  std::int32_t rows_of(const TileOrItem& tile) const {
    return (tile.q_end - tile.q_begin) * options_.group_size;
  }

  // Counts a tile towards what make_shares works with.
  void count(const Tile& tile) {
    const std::int32_t rows = rows_of(tile), kv_tokens = tile.kv_end - tile.kv_begin;
    total_cost_ += cost_of(rows, kv_tokens) * options_.num_kv_heads;
    if (rows <= kFewRows)
      few_rows_parts_ += options_.deterministic ? parts_of(rows, kv_tokens) : most_parts(kv_tokens);
    else
      many_rows_tiles_ += 1;
  }

  // From all tiles: the heads of a call, and the cost beyond which one is split.
  void make_shares() {
    const std::int64_t wanted = std::int64_t{options_.workers} * options_.items_per_worker;
    fair_share_ = options_.workers == 1 ? kMostCost : total_cost_ / wanted;
    few_rows_heads_ = std::clamp(options_.num_kv_heads, 1, options_.heads_together);
    const auto calls = [this] {
      const std::int64_t few_rows_calls = (options_.num_kv_heads + few_rows_heads_ - 1) / few_rows_heads_;
      return few_rows_parts_ * few_rows_calls + many_rows_tiles_ * options_.num_kv_heads;
    };
    while (few_rows_heads_ > 1 && calls() < wanted) few_rows_heads_ = (few_rows_heads_ + 1) / 2;
  }

  void add(std::int32_t request, const Tile& tile) {
    const std::int32_t rows = rows_of(tile);
    list_.max_rows = std::max(list_.max_rows, rows);
    const std::int32_t parts = parts_of(rows, tile.kv_end - tile.kv_begin);
    if (parts == 1) {
      list_.items.push_back({request, tile.q_begin, tile.q_end, tile.kv_begin, tile.kv_end, -1, -1});
      return;
    }
    list_.max_partial_rows = std::max(list_.max_partial_rows, rows);
    const auto group = static_cast<std::int32_t>(list_.merges.size());
    list_.merges.push_back({static_cast<std::int32_t>(list_.parts.size()), parts});
    for (std::int32_t part = 0; part < parts; ++part) {
      const WorkItem item{
          request,       tile.q_begin, tile.q_end, border(tile, part, parts), border(tile, part + 1, parts),
          list_.slots++, group};
      list_.parts.push_back(item);
      list_.items.push_back(item);
    }
  }

  // One call for each item and its share of the KV heads.
  void make_calls() {
    for (std::size_t i = 0; i < list_.items.size(); ++i) {
      const std::int32_t heads = heads_of(rows_of(list_.items[i]));
      for (std::int32_t head = 0; head < options_.num_kv_heads; head += heads)
        list_.calls.push_back(
            {static_cast<std::int32_t>(i), head, std::min(head + heads, options_.num_kv_heads)});
    }
  }

  // Orders the items by their calls' cost, longest first; equal ones keep their order.
  void sort() {
    keys_.resize(list_.items.size());
    for (std::size_t i = 0; i < keys_.size(); ++i) {
      const WorkItem& item = list_.items[i];
      const std::int64_t cost = call_cost(rows_of(item), item.kv_end - item.kv_begin);
      keys_[i] = static_cast<std::uint64_t>(kMostCost - cost) << kIndexBits |
                 i;  // ascending: cost descending, then index
    }
    if (std::is_sorted(keys_.begin(), keys_.end())) return;
    std::sort(keys_.begin(), keys_.end());
    sorted_.resize(keys_.size());
    for (std::size_t i = 0; i < keys_.size(); ++i) sorted_[i] = list_.items[keys_[i] & kIndexMask];
    list_.items.swap(sorted_);
  }

 private:
  static constexpr int kIndexBits = 23;
  static constexpr std::uint64_t kIndexMask = (std::uint64_t{1} << kIndexBits) - 1;
  static constexpr std::int64_t kMostCost = std::int64_t{1} << 40;

  std::int32_t heads_of(std::int32_t rows) const { return rows <= kFewRows ? few_rows_heads_ : 1; }

  std::int64_t call_cost(std::int32_t rows, std::int32_t kv_tokens) const {
    return cost_of(rows, kv_tokens) * heads_of(rows);
  }

  static std::int32_t most_parts(std::int32_t kv_tokens) { return std::max(1, kv_tokens / kSmallestSplit); }

  std::int32_t parts_of(std::int32_t rows, std::int32_t kv_tokens) const {
    if (options_.deterministic) {
      const std::int32_t chunk = rows <= kFewRows ? kFewRowsChunk : kManyRowsChunk;
      return std::max(1, (kv_tokens + chunk - 1) / chunk);
    }
    const std::int64_t cost = call_cost(rows, kv_tokens);
    const std::int64_t share = fair_share_ * (rows <= kFewRows ? 1 : options_.many_rows_shares);
    if (cost <= share) return 1;
    const std::int64_t wanted = (cost + share - 1) / std::max<std::int64_t>(1, share);
    return static_cast<std::int32_t>(std::clamp<std::int64_t>(wanted, 1, most_parts(kv_tokens)));
  }

  static std::int32_t border(const Tile& tile, std::int32_t part, std::int32_t parts) {
    if (part == parts) return tile.kv_end;
    const std::int64_t tokens = tile.kv_end - tile.kv_begin;
    return tile.kv_begin +
           static_cast<std::int32_t>(tokens * part / parts / kSplitAlignment * kSplitAlignment);
  }

  const WorkListOptions& options_;
  WorkList& list_;
  std::int32_t tokens_;
  std::int64_t total_cost_ = 0, few_rows_parts_ = 0, many_rows_tiles_ = 0;
  std::int64_t fair_share_ = 0;
  std::int32_t few_rows_heads_ = 1;
  std::vector<std::uint64_t> keys_;
  std::vector<WorkItem> sorted_;
};

}  // namespace

std::int32_t rows_per_item(std::int64_t query_tokens, const WorkListOptions& options) {
  const std::int64_t rows = query_tokens * options.group_size;
  for (std::int32_t item_rows : kItemRows)
    if (options.deterministic ||
        rows / item_rows * options.num_kv_heads >= std::int64_t{options.items_per_worker} * options.workers)
      return item_rows;
  return kItemRows[std::size(kItemRows) - 1];
}

void make_work_list(std::span<const std::int32_t> qo_indptr, std::span<const std::int32_t> kv_lens,
                    const WorkListOptions& options, WorkList& list) {
  Builder builder(options, qo_indptr.back(), list);
  builder.for_each_tile(qo_indptr, kv_lens, [&](std::int32_t, const Tile& tile) { builder.count(tile); });
  builder.make_shares();
  builder.for_each_tile(qo_indptr, kv_lens,
                        [&](std::int32_t request, const Tile& tile) { builder.add(request, tile); });
  builder.sort();
  builder.make_calls();
}

}  // namespace strobe::plan
