#include "plan/cache_order.h"

#include <algorithm>

namespace strobe::plan {
namespace {

using kernel::AttentionItem;

// The most heads with which the longest request's KV fits.
std::int32_t heads_together(std::span<const AttentionItem> items, const CacheOrderOptions& options) {
  std::int64_t longest = 1;
  for (const AttentionItem& item : items) longest = std::max<std::int64_t>(longest, item.kv_len);
  std::int32_t heads = options.num_kv_heads;
  while (heads > 1 && (options.num_kv_heads % heads != 0 ||
                       longest * options.bytes_per_token * heads > options.cache_bytes))
    --heads;
  return heads;
}

}  // namespace

std::int32_t order_by_cache(std::span<AttentionItem> items, const CacheOrderOptions& options,
                            std::vector<AttentionItem>& scratch) {
  const std::int32_t heads = heads_together(items, options);
  std::int32_t requests = 0;
  for (const AttentionItem& item : items) requests = std::max(requests, item.request + 1);
  // Sections of neighbouring requests, then a stable counting sort by them.
  std::vector<std::int64_t> bytes_of(static_cast<std::size_t>(requests), 0);
  for (const AttentionItem& item : items)
    bytes_of[static_cast<std::size_t>(item.request)] = item.kv_len * options.bytes_per_token * heads;
  std::vector<std::int32_t> section_of(bytes_of.size());
  std::vector<std::size_t> begin(1, 0);
  std::int64_t in_section = 0;
  for (std::size_t r = 0; r < bytes_of.size(); ++r) {
    if (in_section > 0 && in_section + bytes_of[r] > options.cache_bytes) {
      begin.push_back(0);
      in_section = 0;
    }
    in_section += bytes_of[r];
    section_of[r] = static_cast<std::int32_t>(begin.size() - 1);
  }
  if (begin.size() == 1) return heads;
  const auto section = [&](const AttentionItem& item) {
    return static_cast<std::size_t>(section_of[static_cast<std::size_t>(item.request)]);
  };
  for (const AttentionItem& item : items)
    if (section(item) + 1 < begin.size()) ++begin[section(item) + 1];
  for (std::size_t s = 1; s < begin.size(); ++s) begin[s] += begin[s - 1];
  scratch.resize(items.size());
  for (const AttentionItem& item : items) scratch[begin[section(item)]++] = item;
  std::copy(scratch.begin(), scratch.end(), items.begin());
  return heads;
}

}  // namespace strobe::plan
