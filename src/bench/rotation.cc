#include "bench/rotation.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "strobe/tensor.h"

namespace strobe::bench {

Rotation plan_rotation(double bytes, std::size_t last_level_cache, int calls) {
  const double between = kCachesBetween * static_cast<double>(last_level_cache);
  const double needed = std::ceil(between / std::max(bytes, 1.0));
  if (needed <= calls) return {std::max(1, static_cast<int>(needed)), 0};
  return {std::max(1, calls), static_cast<std::int64_t>(between)};
}

void evict_caches(std::int64_t bytes) {
  if (bytes == 0) return;
  const Tensor other(Dtype::kU8, {bytes});
  std::memset(other.as<void>(), 1, static_cast<std::size_t>(bytes));  // makes the pages real
  volatile std::uint8_t sink = 0;
  for (std::int64_t at = 0; at < bytes; at += 64) sink = sink + other.as<std::uint8_t>()[at];
}

}  // namespace strobe::bench
