// The order of a GPU's work list in which neighbours find each other's KV in the second-level cache: a pure
// function.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "attention/attention_params.h"

namespace strobe::plan {

struct CacheOrderOptions {
  std::int32_t num_kv_heads = 1;
  std::int64_t bytes_per_token = 0;  // K and V of one KV head
  std::int64_t cache_bytes = 0;
};

// Orders items, which are alike for all KV heads, by sections of requests whose KV fits the cache together;
// within a section they keep their order. Returns the KV heads to be done together: the whole list for so
// many heads (a divisor of all), then for the next. `scratch` keeps its memory.
std::int32_t order_by_cache(std::span<kernel::AttentionItem> items, const CacheOrderOptions& options,
                            std::vector<kernel::AttentionItem>& scratch);

}  // namespace strobe::plan
