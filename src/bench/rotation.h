// Cold caches: how many copies of a case's inputs the timed calls go through.
#pragma once

#include <cstddef>
#include <cstdint>

namespace strobe::bench {

// Between two calls on the same inputs, and between making inputs and the first call on them, the process
// touches at least kCachesBetween last-level caches of other memory.
inline constexpr int kCachesBetween = 4;

struct Rotation {
  int instances = 1;
  std::int64_t evict_bytes = 0;  // other memory to walk through after the inputs are made
};

// For calls that touch `bytes` of distinct memory. Enough instances to cover the caches; small
// problems get one for each call instead, and an eviction, so that none is used twice.
Rotation plan_rotation(double bytes, std::size_t last_level_cache, int calls);

// Walks through that much memory, which pushes everything else out of the caches.
void evict_caches(std::int64_t bytes);

}  // namespace strobe::bench
